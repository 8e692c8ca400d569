"""A corpus of drawings made here, under the codes of the frozen lists: painting without a network.

Each drawing is three rectangles of its own colours; enough to learn, and each unlike the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_emoji
from loopwright.scenarios.emoji import corpus
from loopwright.scenarios.emoji.splits import PARTS, load_splits

GROUPS = {
    "groups": {"1": "people-body", "3": "animals-nature", "4": "food-drink"},
    "subgroups": {"0": "any"},
}
HELD = ("tone", "gender", "colour", "concept")
ANIMALS = tuple(f"{0x1F400 + i:X}" for i in range(40))
"""Some of them are in the frozen lists, most may be learned from."""


def hexcodes() -> list[str]:
    """Return what is drawn: animals, and three of each frozen list."""
    lists = load_splits().hexcodes
    listed = [h for kind in ("seen", *HELD) for p in PARTS for h in sorted(lists[kind][p])[:3]]
    return list(dict.fromkeys([*ANIMALS, *listed]))


def write_cache(folder: Path, monkeypatch: pytest.MonkeyPatch, *sides_px: int) -> Path:
    """Build the corpora of some sizes in a cache folder, and return it."""
    codes = hexcodes()
    icons = {code.lower(): {"body": _body(index)} for index, code in enumerate(codes)}
    drawn = {"prefix": "painted", "width": 8, "height": 8, "icons": icons}
    entries = [_entry(index, code) for index, code in enumerate(codes)]
    (folder / "emoji").mkdir(parents=True)
    tiny_emoji.write_package(
        folder / "emoji/tiny-1.tgz",
        {"icons.json": drawn, "chars.json": {code: code for code in icons}},
    )
    tiny_emoji.write_package(
        folder / "emoji/words-1.tgz",
        {"en/data.json": entries, "meta/groups.json": GROUPS},
    )
    for name, value in tiny_emoji.pins(folder).items():
        monkeypatch.setattr(corpus, name, value)
    for side_px in sides_px:
        corpus.build_emoji(side_px, ("twemoji",), folder)
    return folder


def _entry(index: int, code: str) -> dict[str, Any]:
    group = 3 if code in ANIMALS else 1
    return {
        "hexcode": code, "label": f"thing {index}", "order": index, "group": group, "subgroup": 0,
    }  # fmt: skip


def _body(index: int) -> str:
    random = np.random.default_rng(index)
    colours = random.integers(0, 256, (3, 3))
    places = random.integers(0, 5, (3, 2))
    shapes = [
        f'<path fill="rgb({r},{g},{b})" d="M{x} {y}h4v4h-4z"/>'
        for (r, g, b), (x, y) in zip(colours, places, strict=True)
    ]
    return "".join(shapes)
