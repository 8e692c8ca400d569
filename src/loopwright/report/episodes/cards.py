"""One episode on a page: who acted where, what it looked like, what was done, what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.scenario import SPLIT_SIZE, SPLITS, split_of
from loopwright.report import wording
from loopwright.report.episodes.plots import LEFT, RIGHT, WIDTH, Scales, vector_plot
from loopwright.report.episodes.story import JUDGEMENT_BADGES, EpisodeStory, Footage, Strip
from loopwright.report.layout import badge, table
from loopwright.report.markup import Html, data_url, element, join

KIND_NAMES: Mapping[str, str] = {
    kind: wording.capital(one) for kind, (one, _) in wording.KIND_WORDS.items()
}


def card(story: EpisodeStory, drawn_on: Scales) -> Html:
    """Return everything about one episode; the page's script filters by its data attributes."""
    row = story.row
    labels = sorted({note.label for note in story.annotations})
    return element(
        "article",
        _top(story),
        _pictures(story),
        _plots(story, drawn_on),
        _conclusion(story),
        _more(story),
        id=f"e-{row.id}",
        class_="episode",
        data_kind=row.kind,
        data_outcome=story.judgement,
        data_scenario=row.scenario,
        # A line break cannot be part of a label that someone typed.
        data_labels="\n".join(labels),
        data_state=story.state,
    )


def _top(story: EpisodeStory) -> Html:
    row, footage = story.row, story.footage
    start = ", ".join(wording.measure(name, value) for name, value in row.start.items())
    instruction = (
        f"“{footage.header.instruction}”" if footage and footage.header.instruction else ""
    )
    actor = f"candidate {wording.short(row.candidate)}" if row.candidate else ""
    cut = f"cut short: {row.censored}" if row.censored else ""
    about = [start, _length(story), _body(footage), instruction, actor, cut]
    return element(
        "header",
        element("h3", KIND_NAMES[row.kind], element("code", row.id[:10])),
        outcome_badge(story),
        _state_tag(story),
        element("p", join(*filter(None, about), between=" · "), class_="about small"),
    )


def _state_tag(story: EpisodeStory) -> Html | None:
    if story.state == "whole":
        return None
    return element("span", story.state, class_="tag warn-tag", title=story.row.censored)


def outcome_badge(story: EpisodeStory) -> Html:
    """Return the outcome that stands, as a coloured word."""
    tone, sign = JUDGEMENT_BADGES[story.judgement]
    return badge(tone, sign, story.judgement)


def _length(story: EpisodeStory) -> str:
    steps = wording.count(story.row.num_steps, "step")
    return f"{steps}, {story.footage.duration_s:.3g} s" if story.footage else steps


def _body(footage: Footage | None) -> str:
    body = footage.header.body if footage else "robot"
    return "" if body == "robot" else f"body: {body}"


def _pictures(story: EpisodeStory) -> Html:
    if story.footage is None:
        return element("p", story.damage or "", class_="damage")
    strips = [_strip(strip, story.footage) for strip in story.footage.strips]
    return element("div", *strips, _lane(story, story.footage), class_="reel")


def _strip(strip: Strip, footage: Footage) -> Html:
    several = len(footage.header.interface.cameras) > 1
    words = f"{strip.num_frames} frames of camera {strip.camera} over {footage.duration_s:.3g} s"
    return element(
        "div",
        element(
            "img",
            src=data_url("image/jpeg", strip.jpeg),
            alt=words,
            width=strip.num_frames * strip.width_px,
            height=strip.height_px,
            decoding="async",
            # Blown up this far, smoothing would only blur.
            class_="coarse" if strip.height_px < 40 else None,
        ),
        element("span", strip.camera, class_="camera") if several else None,
        class_="film",
        style=_inset(0.5 / strip.num_frames),
    )


def _lane(story: EpisodeStory, footage: Footage) -> Html | None:
    """Lay the annotations along the time axis of the strip above."""
    if not story.annotations:
        return None
    frames = footage.strips[0].num_frames if footage.strips else 1
    notes = [_note(note, footage) for note in story.annotations]
    return element("ol", *notes, class_="lane", style=_inset(0.5 / frames))


def _inset(share: float) -> str:
    """Tell where the time axis begins and ends: at the middle of the first and the last frame."""
    return f"--inset:{share:.4f};--inset-right:{share:.4f}"


def _note(note: Annotation, footage: Footage) -> Html:
    begin, end = footage.share_of(note.begin_step), footage.share_of(note.end_step)
    if end <= begin:
        begin, end = max(begin - 0.01, 0.0), min(begin + 0.01, 1.0)
    last = len(footage.time_s) if note.end_step is None else note.end_step
    words = f"{note.label}, steps {note.begin_step} to {last}, by {note.author}"
    return element(
        "li",
        element(
            "span",
            element("b", note.label),
            f" {note.text}".rstrip() if note.text else None,
            style=f"margin-left:{begin:.1%};min-width:{end - begin:.1%}",
            title=f"{words}. {note.text}".strip(),
        ),
    )


def _plots(story: EpisodeStory, drawn_on: Scales) -> Html | None:
    if story.footage is None:
        return None
    if story.row.kind == "video":
        return element("p", "A video: images and times only, no actions.", class_="small bare")
    drawn = [vector_plot(story, vector, drawn_on) for vector in ("action", "proprio")]
    inset = f"--inset:{LEFT / WIDTH:.4f};--inset-right:{RIGHT / WIDTH:.4f}"
    axes = [element("div", plot, class_="axes", style=inset) for plot in drawn if plot]
    return element("div", *axes, class_="plots")


def _conclusion(story: EpisodeStory) -> Html:
    if story.standing is None:
        return element("p", "Nobody has judged it.", class_="conclusion small")
    return element("p", verdict_words(story.standing), class_="conclusion")


def verdict_words(verdict: Verdict) -> Html:
    """Return who concluded what and why, in one line."""
    _, sign = JUDGEMENT_BADGES[verdict.outcome]
    reason = f": {verdict.reason}" if verdict.reason else ""
    return join(
        f"{sign} {verdict.outcome}{reason} ",
        element("small", f"{wording.said_by(verdict)}, score {verdict.score:.2g}"),
    )


def _more(story: EpisodeStory) -> Html:
    facts = table(None, [(k, v) for k, v in facts_of(story) if v], "pairs")
    return element("details", element("summary", "Details"), facts)


def facts_of(story: EpisodeStory) -> list[tuple[str, str]]:
    """Return what else is known about an episode, name and value."""
    row, footage = story.row, story.footage
    header = footage.header if footage else None
    interface = header.interface if header else None
    cameras = (
        [f"{c.name} {c.width_px}{wording.TIMES}{c.height_px} px" for c in interface.cameras]
        if interface
        else []
    )
    return [
        ("Id", row.id),
        ("Scenario", row.scenario),
        ("Seed", seed_words(row.seed)),
        ("Candidate", row.candidate or ""),
        ("Behaviour", header.behaviour if header else ""),
        ("Body", header.body if header else ""),
        ("Cameras", ", ".join(cameras)),
        ("Rate", f"{interface.rate_hz:g} Hz" if interface else ""),
        ("Recorded", footage.recorded_at if footage else ""),
        ("Cut short by", row.censored or ""),
        ("Digest", row.digest),
    ]


def seed_words(seed: int) -> str:
    """Return a seed with the split it belongs to, if it is of one."""
    known = 0 <= seed < SPLIT_SIZE * len(SPLITS)
    return f"{seed:,} ({split_of(seed)} split)" if known else f"{seed:,}"
