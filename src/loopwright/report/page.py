"""One self-contained HTML file per run: no network, no framework, readable without scripts."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from loopwright.core.errors import StorageError
from loopwright.report import sections, wording
from loopwright.report.markup import Html, element, join
from loopwright.report.run import RunReport


def write_page(report: RunReport, path: Path) -> Path:
    """Write the page of a run, whole or not at all, and return its path.

    Raises:
        MissingExtra: matplotlib is not installed.
        StorageError: The file cannot be written.
    """
    text = render_page(report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise StorageError(
            f"the report {path} could not be written: {error}; free some space or choose "
            "another folder"
        ) from error
    return path


def render_page(report: RunReport) -> str:
    """Return the page as one string; equal reports give equal strings.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    style, script = _resource("page.css"), _resource("page.js")
    body = element(
        "body",
        element("main", sections.hero(report), *(draw(report) for draw in sections.SECTIONS)),
        element("footer", element("p", f"Made by Loopwright from recipe {report.recipe}.")),
        element("script", Html(script)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="description", content=wording.verdict(report)),
        element("title", f"{report.title} · Loopwright"),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    return "<!doctype html>\n" + join(element("html", head, body, lang="en")) + "\n"


def _policy(script: str) -> str:
    """Forbid the network, and every script but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return resources.files("loopwright.report").joinpath(name).read_text(encoding="utf-8")
