"""The gallery of a text-picture model as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from loopwright.report import wording
from loopwright.report.document import document, resource, write_document
from loopwright.report.gallery import cards, figures
from loopwright.report.gallery.cards import picture
from loopwright.report.gallery.story import CaptionList, GalleryStory, PaintingList
from loopwright.report.layout import aside, section, table
from loopwright.report.markup import Html, element, join

_MOSAIC = 24
"""Pictures at the top of the page."""


def write_page(story: GalleryStory, path: Path) -> Path:
    """Write a gallery, whole or not at all, and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    return write_document(render_page(story), path)


def render_page(story: GalleryStory) -> str:
    """Return the page as one string; equal stories give equal strings."""
    return document(
        _hero(story),
        _paintings(story),
        _captions(story),
        _free(story),
        _experts(story),
        _scores(story),
        _credits(story),
        title="Gallery",
        description=_description(story),
        closing=f"Made by Loopwright from the candidate {story.digest}.",
        styles=resource("loopwright.report.gallery", "page.css"),
        script="",
    )


def _description(story: GalleryStory) -> str:
    return (
        f"What a model of {wording.count(story.parameters, 'parameter')} paints from names and "
        "writes about pictures, beside what it learned from."
    )


def _hero(story: GalleryStory) -> Html:
    mosaic = [
        picture(item.painted, f"painted: {item.prompt}", title=item.prompt)
        for shown in story.paintings
        if not shown.kind.is_control
        for item in shown.shown
        if item.is_right
    ][:_MOSAIC]
    return element(
        "header",
        element("p", f"Loopwright · Model {wording.short(story.digest)}", class_="eyebrow"),
        element("h1", "Pictures from words, words from pictures"),
        element("p", _lede(story), class_="lede"),
        element("div", *mosaic, class_="mosaic") if mosaic else None,
        element("p", "Of the paintings below, those that were found right.", class_="small")
        if mosaic
        else None,
        _facts(story),
        class_="hero",
    )


def _lede(story: GalleryStory) -> str:
    return (
        f"One {'sparse' if story.experts else 'dense'} transformer read these names and painted, "
        "saw these pictures and wrote. "
        "Nothing below was picked: items are drawn at random from lists that were frozen before "
        f"training (list “{story.part}”, seed {story.seed})."
    )


def _facts(story: GalleryStory) -> Html:
    experts = story.experts
    sparse = (
        f"{experts.chosen} of {experts.experts} experts a token, "
        f"in {wording.count(len(experts.layers), 'layer')}"
        if experts
        else "dense, no experts"
    )
    ceiling = story.tokenizer
    facts = [
        ("Parameters, tokenizer included", _round_number(story.parameters), sparse),
        (
            "Picture",
            f"{story.px} {wording.TIMES} {story.px} px",
            f"as {story.codes} codes, {ceiling.value:.1f} dB back",
        ),
        ("Learned from", f"{story.training_pictures:,}", "drawings with names"),
        ("Painted", f"best of {story.tries}" if story.tries > 1 else "one try each", story.how),
    ]
    cells = [
        element(
            "div",
            element("dt", name),
            element("dd", value, element("small", note) if note else None),
        )
        for name, value, note in facts
    ]
    return element("dl", *cells, class_="facts")


def _round_number(number: int) -> str:
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,}"


def _paintings(story: GalleryStory) -> Html | None:
    if not story.paintings:
        return None
    known = (
        ""
        if story.is_trained_on_them
        else " The candidate names another corpus than these pictures; it may have learned from "
        "others too."
    )
    lead = join(
        "Each card shows what people drew, what the picture's codes bring back (no painting can be "
        "better), what the model painted, and the training picture that this is most like. Its "
        "distance is the root mean square difference in levels of 255 between what the painted and "
        "the learned codes look like; ",
        element("b", "copy"),
        " means code for code the same. Right means: of all drawings of the style, the true one is "
        f"nearest in pixels.{known}",
    )
    return section(
        "paintings", "Prompts and pictures", lead, join(*map(_painting_list, story.paintings))
    )


def _painting_list(found: PaintingList) -> Html:
    facts = [f"{found.right} of {found.total} right"]
    if found.kind.is_shown:
        facts.append(f"{found.copied} copied code for code, as is right for what was learned")
    else:
        facts.append(f"{found.nearer_true} nearer to the unseen true picture than to any learned")
        facts.append(f"{found.copied} copied")
    return element(
        "div",
        _kind_heading(found),
        element("p", " · ".join(facts), class_="tally"),
        element("div", *(cards.painting(p, found.kind) for p in found.shown), class_="cards"),
        class_="kind",
        id=f"paintings-{found.kind.name}",
    )


def _kind_heading(found: PaintingList | CaptionList) -> Html:
    control = element("span", "leak control", class_="tag") if found.kind.is_control else None
    return join(
        element("h3", found.kind.title, " " if control else None, control),
        element("p", found.kind.about, class_="about"),
    )


def _captions(story: GalleryStory) -> Html | None:
    if not story.captions:
        return None
    lead = join(
        "What the model wrote about a picture, and its name. Words that are wrong are ",
        element("del", "struck out"),
        ", words that are missing ",
        element("ins", "underlined"),
        ".",
    )
    return section(
        "captions", "Pictures and captions", lead, join(*map(_caption_list, story.captions))
    )


def _caption_list(found: CaptionList) -> Html:
    return element(
        "div",
        _kind_heading(found),
        element("p", f"{found.exact} of {found.total} exact", class_="tally"),
        element("div", *map(cards.caption, found.shown), class_="captions"),
        class_="kind",
        id=f"captions-{found.kind.name}",
    )


def _free(story: GalleryStory) -> Html | None:
    if not story.free:
        return None
    lead = (
        "Prompts of our own, each painted several times, with the training picture that each "
        "painting is most like below it. There is no true picture to compare with."
    )
    return section(
        "free", "Free prompts", lead, element("div", *map(cards.free, story.free), class_="free")
    )


def _experts(story: GalleryStory) -> Html | None:
    if story.experts is None:
        return None
    lead = (
        "Share of the tokens of each sort that every expert of a layer gets; in each layer experts "
        "are ordered from those that words use more to those that codes use more. An even row "
        f"would be {100 / story.experts.experts:.3g} % everywhere."
    )
    return section(
        "experts", "Which experts take which tokens", lead, figures.experts(story.experts)
    )


def _scores(story: GalleryStory) -> Html:
    heads = ("List", *story.metrics.values(), "Emoji")
    rows = []
    for row in story.scores:
        cells = [cards.measure(row.measures.get(name)) for name in story.metrics]
        counts = {measure.groups for measure in row.measures.values()}
        name = join(
            row.kind.title, element("small", "leak control") if row.kind.is_control else None
        )
        rows.append((name, *cells, wording.DASH.join(f"{n:,}" for n in sorted(counts))))
    lead = (
        f"Over the whole lists “{story.part}”, names in “{story.language}”, with 95 % bootstrap "
        "intervals over emoji (exact ones where all items agree)."
    )
    ceiling = story.tokenizer
    return section(
        "scores",
        "Scores",
        lead,
        join(
            table(heads, rows, "numbers"),
            element(
                "p",
                f"Pictures come back from their codes at {ceiling.value:.1f} dB "
                f"({ceiling.low:.1f} to {ceiling.high:.1f}, {ceiling.groups:,} emoji).",
                class_="after",
            ),
        ),
    )


def _credits(story: GalleryStory) -> Html:
    rows = [(c.package, c.licence, c.attribution, c.changes) for c in story.credits]
    return section(
        "credits",
        "Whose work this is",
        "Pictures and names come from these packages. Keep these lines with whatever you publish "
        "of this page.",
        join(
            table(("Package", "Licence", "Attribution", "Changes"), rows, "credits"),
            aside("Painted pictures were made by a model that learned from these drawings."),
        ),
    )
