"""``loopwright caption``: write about pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig


def main(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    pictures: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PICTURE")],
    /,
    *,
    language: str = "en",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Write the likeliest text about each picture, one a line.

    Args:
        model: Folder of a candidate that writes about pictures.
        pictures: PNG, JPEG or WebP files.
        language: Of the texts.
        json_output: Print JSON.
    """
    if not pictures:
        raise InvalidConfig("there is no picture; expected at least one file")
    import numpy as np

    from loopwright.models.deploy.opening import open_text_picture  # here: it needs torch
    from loopwright.models.deploy.pictures import read_picture

    writer = open_text_picture(model)
    px = writer.pictures.config.px
    images = [read_picture(_bytes_of(path), px) for path in pictures]
    texts = writer.write(np.stack(images), language=language)
    if json_output:
        print(
            json.dumps(
                [{"file": str(p), "text": t} for p, t in zip(pictures, texts, strict=True)],
                ensure_ascii=False,
            )
        )
    else:
        print("\n".join(texts))
    return 0


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from error
