"""One self-contained HTML file per run: no network, no framework, readable without scripts."""

from __future__ import annotations

from pathlib import Path

from loopwright.report import sections, wording
from loopwright.report.document import document, resource, write_document
from loopwright.report.run import RunReport


def write_page(report: RunReport, path: Path) -> Path:
    """Write the page of a run, whole or not at all, and return its path.

    Raises:
        MissingExtra: matplotlib is not installed.
        StorageError: The file cannot be written.
    """
    return write_document(render_page(report), path)


def render_page(report: RunReport) -> str:
    """Return the page as one string; equal reports give equal strings.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    return document(
        sections.hero(report),
        *(draw(report) for draw in sections.SECTIONS),
        title=report.title,
        description=wording.verdict(report),
        closing=f"Made by Loopwright from recipe {report.recipe}.",
        styles=resource("loopwright.report", "page.css"),
        script=resource("loopwright.report", "page.js"),
    )
