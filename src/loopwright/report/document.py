"""The frame of every page: one self-contained HTML file that reaches for nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from loopwright.core.errors import StorageError
from loopwright.report.markup import Html, element, join


def document(
    *main: Html | None, title: str, description: str, closing: str, styles: str, script: str
) -> str:
    """Return a whole page in the house style, as one string.

    Args:
        main: What the page holds, from top to bottom.
        title: What the window is called.
        description: The page in one sentence.
        closing: The line at its foot.
        styles: Style sheet of this kind of page; the common one comes before it.
        script: The only script that the page's policy lets run.
    """
    body = element(
        "body",
        element("main", *main),
        element("footer", element("p", closing)),
        element("script", Html(script)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="description", content=description),
        element("title", f"{title} · Loopwright"),
        element("link", rel="icon", href="data:,"),
        element("style", Html(f"{resource('loopwright.report', 'base.css')}\n{styles}")),
    )
    return "<!doctype html>\n" + join(element("html", head, body, lang="en")) + "\n"


def write_document(text: str, path: Path) -> Path:
    """Write a page, whole or not at all, and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
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


def resource(package: str, name: str) -> str:
    """Return the text of a file that lies beside the code."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Forbid the network, and every script but ours."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
