"""Draw a contact sheet of emoji: a hundred of them, spread over all groups and styles.

Usage: ``python tools/picture_emoji.py docs/images/emoji.png``
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np

from loopwright.core.seeds import generator
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji

_COLUMNS, _ROWS, _GAP_PX, _PX = 15, 7, 4, 64


def chosen_rows(emoji: Emoji, count: int) -> np.ndarray:
    """Return rows in runs of one emoji in all its styles, spread over the groups."""
    styles = len(emoji.styles)
    common = [h for h in dict.fromkeys(emoji.hexcode) if (emoji.hexcode == h).sum() == styles]
    group = {h: g for h, g in zip(emoji.hexcode, emoji.group, strict=True)}
    shuffled = generator(0, "contact sheet").permutation(common)
    names = sorted(set(group.values()))
    queues = [[h for h in shuffled if group[h] == name] for name in names]
    queues = [queue for queue in queues if queue]
    rows: list[int] = []
    while len(rows) < count:
        for queue in queues:
            if queue:
                rows += np.flatnonzero(emoji.hexcode == queue.pop()).tolist()
    return np.array(rows[:count])


def sheet(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Return pictures uint8 ``(N, px, px, 3)`` side by side on grey, uint8 ``(H, W, 3)``."""
    count, px = len(pictures), pictures.shape[1]
    step = px + _GAP_PX
    lines = -(-count // columns)
    page = np.full((lines * step + _GAP_PX, columns * step + _GAP_PX, 3), 200, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (_GAP_PX + step * place for place in divmod(index, columns))
        page[top : top + px, left : left + px] = picture
    return page


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 ``(H, W, 3)`` as a PNG file."""
    height, width = pixels.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    signature = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(signature + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


if __name__ == "__main__":
    emoji = load_emoji(_PX)
    rows = chosen_rows(emoji, _COLUMNS * _ROWS)
    write_png(Path(sys.argv[1]), sheet(emoji.pixels[rows], _COLUMNS))
