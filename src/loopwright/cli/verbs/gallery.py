"""``loopwright gallery``: one HTML file with what a text-picture model paints and writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.progress import progress_bar
from loopwright.core.errors import InvalidConfig
from loopwright.scenarios.emoji.splits import Part


def main(  # noqa: PLR0913  (one flag per choice)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    out: Path = Path("gallery.html"),
    part: Part = "report",
    language: str = "en",
    seed: int = 0,
    each: int = 12,
    tries: int = 1,
    temperature: float | None = None,
    guidance: float | None = None,
    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    grid: Path | None = None,
    cache: Path | None = None,
) -> int:
    """Write a page of pictures, captions, neighbours, experts and scores, and print where it is.

    Every emoji of the lists is painted and written about, which takes a few CPU-minutes; the page
    shows some of each list, drawn at random. It needs no network and no server.

    Args:
        model: Candidate folder of a text-picture model, as 'loopwright train wudao.laptop' makes.
        out: File to write.
        part: Which lists of held-out emoji: "report" for figures, "tune" to choose settings by.
        language: Of names and captions.
        seed: Of what is painted, and of which items are shown.
        each: Items to show of each list.
        tries: Pictures to paint of each name; the one that the model finds most like it is kept.
        temperature: 0 takes the likeliest code of a picture, 1 draws as the model believes; the
            family's default if not given.
        guidance: How far to go beyond what the text alone asks for, 1 for the model as it is; the
            family's default if not given.
        prompt: Something else to paint ("blue apple"); repeat the flag for several.
        grid: Also write a PNG of prompts with true, painted and nearest training picture.
        cache: Folder of the emoji; loopwright in the user's cache folder by default.
    """
    from loopwright.cli.exhibits import Choices, gather_gallery
    from loopwright.models.wudao.sample import Painting
    from loopwright.report.gallery.grid import write_grid
    from loopwright.report.gallery.page import write_page

    for name, value in (("each", each), ("tries", tries)):
        if value < 1:
            raise InvalidConfig(f"{name} is {value}; expected at least 1")
    given = {"temperature": temperature, "guidance": guidance}
    choices = Choices(
        part=part,
        language=language,
        seed=seed,
        each=each,
        tries=tries,
        how=replace(Painting(), **{k: v for k, v in given.items() if v is not None}),
        prompts=prompt,
    )
    with progress_bar("gallery") as progress:
        story = gather_gallery(model, choices, cache=cache, progress=progress)
    print(write_page(story, out))
    if grid is not None:
        shown = [p for of in story.paintings if not of.kind.is_control for p in of.shown]
        print(write_grid(shown, grid))
    return 0
