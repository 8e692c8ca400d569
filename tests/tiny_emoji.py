"""Emoji packages of a few drawings, in the formats of the real ones, made here.

Run as a program it builds the corpus of its folder, so that tests can race and kill it:
``python tiny_emoji.py FOLDER [MESSAGE]`` dies by SIGKILL at the first progress message that begins
with ``MESSAGE``, and prints each of them.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

from loopwright.scenarios.emoji import corpus
from loopwright.scenarios.emoji.fetch import integrity_of
from loopwright.scenarios.emoji.packages import Package

RED, BLUE = (255, 0, 0), (0, 0, 255)

ICONS: dict[str, Any] = {
    "prefix": "tiny",
    "width": 8,
    "height": 8,
    "icons": {
        "left": {"body": '<path fill="#f00" d="M0 0h4v8H0z"/>'},
        "wide": {"body": '<path fill="#00f" d="M0 0h16v8H0z"/>', "width": 16},
        "full": {"body": '<path fill="#00f" d="M0 0h8v8H0z"/>'},
    },
    "aliases": {
        "right": {"parent": "left", "hFlip": True},
        "again": {"parent": "right", "hFlip": True},
        "top": {"parent": "left", "rotate": 1},
    },
}
CHARS = {
    "1f44b": "left",
    "1f44b-1f3fb": "right",
    "2764-fe0f": "full",
    "1f468-200d-1f692": "top",
    "e50a": "wide",
}
GROUPS = {
    "groups": {"0": "smileys-emotion", "1": "people-body"},
    "subgroups": {"14": "heart", "16": "hand-fingers-open", "25": "person-role"},
}
ENGLISH: list[dict[str, Any]] = [
    {
        "hexcode": "1F44B", "label": "waving hand", "tags": ["hello"], "order": 2, "group": 1,
        "subgroup": 16,
        "skins": [
            {
                "hexcode": "1F44B-1F3FB", "label": "waving hand: light skin tone", "tone": 1,
                "order": 3, "group": 1, "subgroup": 16,
            }
        ],
    },
    {
        "hexcode": "2764-FE0F", "label": "red heart", "tags": ["love"], "order": 1, "group": 0,
        "subgroup": 14,
    },
    {
        "hexcode": "1F468-200D-1F692", "label": "man firefighter", "order": 4, "group": 1,
        "subgroup": 25,
    },
    {"hexcode": "1F1E6", "label": "regional indicator A"},
]  # fmt: skip
CHINESE = [
    {
        "hexcode": "1F44B",
        "label": "挥手",
        "tags": ["再见"],
        "skins": [{"hexcode": "1F44B-1F3FB", "label": "挥手: 较浅肤色"}],
    },
    {"hexcode": "2764", "label": "红心"},
]

DRAWING_FILES = {"icons.json": ICONS, "chars.json": CHARS}
CAPTION_FILES = {
    "en/data.json": ENGLISH,
    "zh/data.json": CHINESE,
    "meta/groups.json": GROUPS,
    "en/shortcodes/data.json": {},
}


def write_package(path: Path, files: dict[str, Any]) -> Package:
    """Write a tarball as npm does and return its pin; bytes are kept, other content is JSON."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return pin(path)


def pin(path: Path) -> Package:
    """Return the package that a tarball is."""
    name, _, version = path.name.removesuffix(".tgz").rpartition("-")
    return Package(
        name=name,
        version=version,
        integrity=integrity_of(path),
        licence="CC0-1.0",
        attribution="made for a test",
        changes="none",
    )


def write_packages(folder: Path) -> None:
    """Put the tarballs of one style and of the captions into a cache folder."""
    (folder / "emoji").mkdir(parents=True, exist_ok=True)
    write_package(folder / "emoji/tiny-1.tgz", DRAWING_FILES)
    write_package(folder / "emoji/words-1.tgz", CAPTION_FILES)


def pins(folder: Path) -> dict[str, Any]:
    """Return what to put in place of the real packages of :mod:`corpus`."""
    return {
        "DRAWINGS": {"twemoji": pin(folder / "emoji/tiny-1.tgz")},
        "CAPTIONS": pin(folder / "emoji/words-1.tgz"),
    }


def main() -> None:
    folder, deadly = Path(sys.argv[1]), (sys.argv[2:] or ["(never)"])[0]

    def report(fraction: float, message: str) -> None:
        sys.stdout.write(f"{message}\n")
        sys.stdout.flush()
        if message.startswith(deadly):
            os.kill(os.getpid(), signal.SIGKILL)

    for name, value in pins(folder).items():
        setattr(corpus, name, value)
    digest = corpus.build_emoji(8, ("twemoji",), folder, progress=report).digest
    sys.stdout.write(f"{digest}\n")


if __name__ == "__main__":
    main()
