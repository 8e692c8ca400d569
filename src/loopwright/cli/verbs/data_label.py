"""``loopwright data label``: add an operator's verdict or annotation beside episodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.recorded import find_episode
from loopwright.core.episode import Annotation, Outcome, Verdict
from loopwright.core.errors import InvalidConfig
from loopwright.store.ledger import EpisodeRow, Ledger
from loopwright.store.workspace import Workspace

_SCORES: dict[Outcome, float] = {"success": 1.0, "failure": 0.0, "unknown": 0.0}


def main(  # noqa: PLR0913  (one argument per flag)
    episodes: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="EPISODE...")],
    /,
    *,
    author: str,
    outcome: Outcome | None = None,
    note: str | None = None,
    steps: str | None = None,
    reason: str = "",
    withdraw: bool = False,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Say how episodes ended, or note something about them; what is recorded stays as it is.

    A verdict of an operator counts only where neither a verifier nor a model judge has spoken.
    Either every named episode gets the label or, if a name is wrong, none does.

    Args:
        episodes: Ids, or the beginnings of ids.
        author: Who says so.
        outcome: How they ended.
        note: Or: a label to annotate them with ("blurry", "intervention", any word).
        steps: Which steps the note is about, as BEGIN:END (END is not included); all by default.
        reason: Why, in one sentence.
        withdraw: Take back your earlier note of the same label and steps.
        workspace: Folder of the workspace.
        json_output: Print JSON.
    """
    _check_request(outcome=outcome, note=note, steps=steps, withdraw=withdraw)
    said_by = f"operator/{author}"
    with Workspace.open(workspace) as place:
        rows = [find_episode(place, name) for name in dict.fromkeys(episodes)]
        if outcome is not None:
            told = [_judge(place.ledger, row, outcome, said_by, reason) for row in rows]
        else:
            begin, end = _stretch(steps)
            notes = [
                Annotation(
                    episode=row.id,
                    label=note or "",
                    author=said_by,
                    begin_step=begin,
                    end_step=end,
                    text=reason,
                    withdrawn=withdraw,
                )
                for row in rows
            ]
            told = [_annotate(place.ledger, n) for n in _checked(notes, rows, place.ledger)]
    print(json.dumps([facts for facts, _ in told]) if json_output else _lines(told))
    return 0


Told = tuple[dict, str]
"""What was done, for machines and for people."""


def _lines(told: list[Told]) -> str:
    return "\n".join(words for _, words in told)


def _check_request(
    *, outcome: Outcome | None, note: str | None, steps: str | None, withdraw: bool
) -> None:
    if (outcome is None) == (note is None):
        raise InvalidConfig("say either --outcome (how it ended) or --note (what you noticed)")
    if outcome is not None and (steps is not None or withdraw):
        raise InvalidConfig(
            "--steps and --withdraw belong to --note; a verdict is on the whole episode, and a "
            "newer one takes its place"
        )


def _judge(ledger: Ledger, row: EpisodeRow, outcome: Outcome, said_by: str, reason: str) -> Told:
    verdict = Verdict(
        episode=row.id,
        outcome=outcome,
        score=_SCORES[outcome],
        verifier=said_by,
        # A person looks at everything there is.
        evidence_digest=row.digest,
        reason=reason,
        authority="operator",
    )
    ledger.add_verdict(verdict)
    standing = ledger.standing_verdict(row.id)
    assert standing is not None, "a verdict was just added"
    words = f"{row.id}: {outcome}, said by {said_by}"
    if standing.authority != "operator":
        words += (
            f". It is kept but does not count: the {standing.authority} {standing.verifier} said "
            f"{standing.outcome}, which outranks an operator"
        )
    facts = {**verdict.to_json(), "standing": standing.to_json()}
    return facts, words


def _checked(notes: list[Annotation], rows: list[EpisodeRow], ledger: Ledger) -> list[Annotation]:
    """Return the notes if all of them make sense, so that none is added if one does not."""
    for note, row in zip(notes, rows, strict=True):
        if max(note.begin_step, (note.end_step or 1) - 1) >= row.num_steps:
            raise InvalidConfig(
                f"episode {row.id} has {row.num_steps} steps; "
                f"{note.begin_step}:{note.end_step or ''} reaches beyond"
            )
        standing = {a.place for a in ledger.annotations([row.id]).get(row.id, ())}
        if note.withdrawn and note.place not in standing:
            raise InvalidConfig(
                f"episode {row.id} has no note {note.label!r} of {note.author} on these steps; "
                f"'loopwright data show {row.id[:10]}' lists its notes"
            )
    return notes


def _annotate(ledger: Ledger, note: Annotation) -> Told:
    ledger.add_annotation(note)
    where = "the whole episode"
    if note.begin_step or note.end_step is not None:
        where = f"steps {note.begin_step}:{note.end_step if note.end_step is not None else 'end'}"
    done = "withdrawn" if note.withdrawn else "noted"
    return note.to_json(), f"{note.episode}: {note.label} {done} on {where} by {note.author}"


def _stretch(steps: str | None) -> tuple[int, int | None]:
    if steps is None:
        return 0, None
    begin, colon, end = steps.partition(":")
    try:
        if not colon:
            raise ValueError(steps)
        return int(begin or 0), int(end) if end else None
    except ValueError:
        raise InvalidConfig(
            f"--steps {steps!r}; expected BEGIN:END, as in 10:40 (step 40 not included)"
        ) from None
