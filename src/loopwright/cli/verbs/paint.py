"""``loopwright paint``: paint pictures of a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig, StorageError


def main(  # noqa: PLR0913  (a command line is wide)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")],
    /,
    *,
    out: Path,
    style: str = "twemoji",
    language: str = "en",
    seed: int = 0,
    tries: int = 4,
    factor: int = 8,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Paint a picture and write it as a PNG file.

    Args:
        model: Folder of a candidate that paints.
        text: What to paint ("red heart").
        out: The file to write.
        style: Drawing style.
        language: Of the text.
        seed: Another one gives another picture.
        tries: Pictures to paint; the one whose text the model itself finds likeliest is kept.
        factor: How many pixels each painted one becomes, along each side.
        json_output: Print JSON.
    """
    if min(tries, factor) < 1 or not text.strip():
        raise InvalidConfig(
            f"text {text!r}, tries {tries} and factor {factor}; expected some text, and at least 1"
        )
    from loopwright.models.deploy.opening import open_text_picture  # here: it needs torch
    from loopwright.models.deploy.pictures import png_of
    from loopwright.models.wudao.sample import Prompt

    painter = open_text_picture(model)
    image = painter.paint([Prompt(text, language, style)], seed=seed, tries=tries)[0]
    try:
        out.write_bytes(png_of(image, factor=factor))
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    side_px = factor * image.shape[0]
    if json_output:
        print(json.dumps({"file": str(out), "side_px": side_px, "seed": seed, "tries": tries}))
    else:
        print(f"{out}  {side_px} x {side_px} pixels")
    return 0
