"""One self-contained HTML file per snapshot: look at its episodes, filter them, find one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from loopwright.report import wording
from loopwright.report.document import document, resource, write_document
from loopwright.report.episodes.cards import KIND_NAMES, card
from loopwright.report.episodes.starts import start_maps
from loopwright.report.episodes.story import JUDGEMENT_BADGES, SnapshotStory, scales
from loopwright.report.layout import section, table
from loopwright.report.markup import Child, Html, element, join
from loopwright.store.curate import JUDGEMENTS, Judgement

_PACKAGE = "loopwright.report.episodes"


def write_page(story: SnapshotStory, path: Path) -> Path:
    """Write the page of a snapshot, whole or not at all, and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    return write_document(render_page(story), path)


def render_page(story: SnapshotStory) -> str:
    """Return the page as one string; equal stories give equal strings."""
    return document(
        _hero(story),
        _totals(story),
        _browser(story),
        title=f"Snapshot {story.digest[:12]}",
        description=f"{_counted(story)}: {_outcome_words(story)}.",
        closing=f"Made by Loopwright from snapshot {story.digest}.",
        styles=resource(_PACKAGE, "page.css"),
        script=resource(_PACKAGE, "page.js"),
    )


def _counted(story: SnapshotStory) -> str:
    return wording.count(len(story.rows), "episode")


def _hero(story: SnapshotStory) -> Html:
    scenarios = list(dict.fromkeys(row.scenario for row in story.rows))
    where = f" of {scenarios[0]}" if len(scenarios) == 1 else ""
    if len(scenarios) > 1:
        where = f" of {wording.spelled(len(scenarios), 'scenario')}"
    return element(
        "header",
        element("p", f"Loopwright · snapshot {story.digest[:12]}", class_="eyebrow"),
        element("h1", _counted(story), element("span", where, class_="where") if where else None),
        element("p", story.choice, class_="lede"),
        *(element("p", words, class_="notice") for words in _notices(story)),
        _facts(story),
        class_="hero",
    )


def _notices(story: SnapshotStory) -> list[str]:
    notices = [story.cut] if story.cut else []
    if story.missing:
        named = wording.count(len(story.missing), "episode")
        notices.append(
            f"{named} that the snapshot names cannot be shown, being no longer on record: "
            f"{', '.join(story.missing[:3])}{' and others' if story.missing[3:] else ''}."
        )
    return notices


def _facts(story: SnapshotStory) -> Html:
    outcomes = story.outcomes()
    judged = sum(n for outcome, n in outcomes.items() if outcome != "unjudged")
    starts = {(r.scenario, r.seed) for r in story.rows}
    seconds = sum(e.footage.duration_s for e in story.episodes if e.footage)
    filmed = f"{wording.seconds(seconds)} shown" if seconds else ""
    noted = sum(bool(e.annotations) for e in story.episodes)
    facts = [
        ("Success", f"{outcomes['success']} of {judged}", "judged episodes"),
        ("Control steps", f"{story.num_steps:,}", filmed),
        ("Different starts", f"{len(starts):,}", ""),
        ("Annotated", f"{noted:,}", "of those shown" if story.cut else ""),
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


def _outcome_words(story: SnapshotStory) -> str:
    outcomes = story.outcomes()
    return ", ".join(f"{outcomes[o]} {o}" for o in JUDGEMENTS if outcomes[o])


def _totals(story: SnapshotStory) -> Html | None:
    if not story.rows:
        return None
    counts = story.outcomes_by_kind()
    shown: list[Judgement] = [o for o in JUDGEMENTS if any(c[o] for c in counts.values())]
    rows: list[Sequence[Child]] = [
        (
            KIND_NAMES[kind],
            *(f"{count[o]:,}" if count[o] else wording.DASH for o in shown),
            f"{count.total():,}",
            f"{sum(r.num_steps for r in story.rows if r.kind == kind):,}",
        )
        for kind, count in counts.items()
    ]
    if len(rows) > 1:
        every = story.outcomes()
        sums = (f"{every[o]:,}" for o in shown)
        rows.append(("All", *sums, f"{len(story.rows):,}", f"{story.num_steps:,}"))
    heads = ("Kind", *map(wording.capital, shown), "Episodes", "Steps")
    return section(
        "totals",
        "What is in it",
        None,
        element(
            "div",
            table(heads, rows, "numbers"),
            start_maps(story.episodes),
            class_="overview",
        ),
    )


def _browser(story: SnapshotStory) -> Html:
    drawn_on = scales(story.episodes)
    lead = "Plots of the same quantity share one scale, so that episodes can be compared."
    nothing = element(
        "p", "No episode passes all of these filters.", id="nothing", class_="lead", hidden=True
    )
    cards = element("div", *(card(e, drawn_on) for e in story.episodes), id="episodes")
    return section("browse", "Episodes", lead, join(_filters(story), nothing, cards))


def _filters(story: SnapshotStory) -> Html:
    """Return the controls; hidden until the script that they need says it is there."""
    episodes = story.episodes
    signs = {outcome: sign for outcome, (_, sign) in JUDGEMENT_BADGES.items()}
    outcomes = {e.judgement for e in episodes}
    kinds = dict.fromkeys(e.row.kind for e in episodes)
    scenarios = dict.fromkeys(e.row.scenario for e in episodes)
    states = dict.fromkeys(e.state for e in episodes)
    labels = {note.label for e in episodes for note in e.annotations}
    return element(
        "form",
        element(
            "input",
            id="find",
            type="search",
            placeholder="Find: id, instruction, reason, author, …",
            aria_label="Find in the text of the episodes",
            autocomplete="off",
        ),
        _chips("outcome", {str(o): f"{signs[o]} {o}" for o in JUDGEMENTS if o in outcomes}),
        _chips("kind", {str(kind): str(kind) for kind in kinds}),
        _chips("scenario", {s: s for s in scenarios}),
        _chips("state", {str(s): str(s) for s in states}, "recording"),
        _chips("labels", {label: label for label in sorted(labels)}, "annotation"),
        element(
            "p",
            element("output", wording.count(len(episodes), "episode"), id="shown"),
            element("button", "Show all", type="reset", id="clear", hidden=True),
            class_="count",
        ),
        id="filters",
        hidden=True,
    )


def _chips(field: str, words: Mapping[str, str], name: str = "") -> Html | None:
    """Return a group of switches; none where there is nothing to choose."""
    if len(words) < (1 if field == "labels" else 2):
        return None
    chips = [
        element(
            "label",
            element("input", type="checkbox", name=field, value=value),
            element("span", shown, " ", element("small", "", class_="tally")),
            class_=f"chip {field} {value if field == 'outcome' else ''}".rstrip(),
        )
        for value, shown in words.items()
    ]
    title = name or field
    return element("fieldset", element("legend", wording.capital(title)), *chips)
