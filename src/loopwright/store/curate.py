"""Choosing episodes: a query over the index gives a snapshot; nothing recorded is ever rewritten.

To delete, relabel, merge, split or filter is always to make another :class:`Snapshot`, whose rule
(:attr:`Snapshot.label_filter`) says how it came about and is part of its digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from loopwright.core.digest import Json, digest_json
from loopwright.core.episode import SOURCE_KINDS, SourceKind, Verdict
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Box
from loopwright.store.episode_files import read_description
from loopwright.store.ledger import EpisodeRow
from loopwright.store.snapshots import Snapshot, load_snapshot
from loopwright.store.workspace import Workspace

Judgement = Literal["success", "failure", "unknown", "unjudged"]
"""The outcome of the verdict that stands, or that there is none (``"unjudged"``)."""

JUDGEMENTS: tuple[Judgement, ...] = ("success", "failure", "unknown", "unjudged")

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which episodes to choose. Every rule must hold; an empty one holds for all."""

    kinds: tuple[SourceKind, ...] = ()
    scenarios: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    """Whose body moves. The index does not know it: each episode that is left is opened."""
    candidates: tuple[str, ...] = ()
    """Digests of the candidates that acted."""
    outcomes: tuple[Judgement, ...] = ()
    """Outcome of the verdict that stands."""
    box: Box | None = None
    """Part of the operating domain in which they start."""
    labels: tuple[str, ...] = ()
    """Annotations of which an episode carries at least one."""
    without_labels: tuple[str, ...] = ()
    """Annotations of which it carries none."""
    censored: bool | None = False
    """False: whole episodes only; True: only those cut short; None: both."""
    snapshots: tuple[str, ...] = ()
    """Digests of snapshots to choose from, in this order; the whole workspace by default."""
    leave_out: tuple[str, ...] = ()
    """Ids of episodes not to choose."""
    limit: int | None = None
    """Most episodes to choose; the first ones in order are."""

    def __post_init__(self) -> None:
        """Refuse words that no episode can match, and a limit that chooses nothing."""
        _check_words("kind", self.kinds, SOURCE_KINDS)
        _check_words("outcome", self.outcomes, JUDGEMENTS)
        if both := set(self.labels) & set(self.without_labels):
            raise InvalidConfig(f"the annotations {sorted(both)} are both asked for and excluded")
        if self.limit is not None and self.limit < 1:
            raise InvalidConfig(f"limit is {self.limit}; expected at least 1")

    @property
    def rule(self) -> str:
        """The query in words: equal queries give equal rules, different ones different rules."""
        clauses = [
            _clause("from the snapshots", [digest[:12] for digest in self.snapshots], " + "),
            _clause("kind", self.kinds),
            _clause("scenario", self.scenarios),
            _clause("body", self.bodies),
            _clause("candidate", [digest[:12] for digest in self.candidates]),
            _clause("outcome", self.outcomes),
            *_box_clauses(self.box),
            _clause("annotated", map(repr, self.labels)),
            _clause("not annotated", map(repr, self.without_labels)),
            {False: "whole", True: "cut short", None: ""}[self.censored],
            _left_out_clause(self.leave_out),
            f"at most {self.limit}" if self.limit is not None else "",
        ]
        return "; ".join(filter(None, clauses)) or "everything"


def select(workspace: Workspace, query: Query) -> Snapshot:
    """Return the episodes that a query matches, as a snapshot that is not yet saved.

    They come in the order of the snapshots to choose from, else by scenario, kind, seed and id;
    so the same records give the same digest. Episodes that such a snapshot names but that are no
    longer on record (quarantined, say) are left out.

    Args:
        workspace: Where the episodes are.
        query: Which ones.

    Raises:
        InvalidConfig: A snapshot is none, or the box names a parameter that no episode has.
        DamagedEpisode: Bodies were asked for and a description is damaged.
    """
    left_out = set(query.leave_out)
    chosen = [
        row
        for row in _candidates_for(workspace, query)
        if row.id not in left_out and _row_matches(row, query)
    ]
    chosen = _in_box(chosen, query.box)
    if query.outcomes:
        verdicts = workspace.ledger.standing_verdicts([row.id for row in chosen])
        chosen = [r for r in chosen if judgement(verdicts.get(r.id)) in query.outcomes]
    if query.labels or query.without_labels:
        chosen = _labelled(workspace, chosen, query)
    if query.bodies:
        chosen = [row for row in chosen if _body(workspace, row.id) in query.bodies]
    episodes = tuple(row.id for row in chosen[: query.limit])
    return Snapshot(episodes=episodes, label_filter=query.rule)


def split(
    workspace: Workspace, snapshot: Snapshot, share: float, seed: int = 0
) -> tuple[Snapshot, Snapshot]:
    """Divide a snapshot in two; episodes of one start never come on both sides.

    A side takes whole starts in an order that the seed alone fixes, so a part that is held out
    tells how a policy does at starts it has not seen. Both keep the order of the snapshot.

    Args:
        workspace: Where the episodes are on record: the index knows their starts.
        snapshot: What to divide.
        share: Which share of the starts the first part gets, between 0 and 1; at least one start
            comes on either side.
        seed: Another one gives another division.

    Raises:
        InvalidConfig: The share is no proper one, an episode is not on record, or all episodes
            have the same start.
    """
    if not 0.0 < share < 1.0:
        raise InvalidConfig(f"share is {share}; expected more than 0 and less than 1")
    starts = _starts(workspace, snapshot)
    groups = sorted(set(starts.values()), key=lambda start: digest_json([seed, start]))
    if len(groups) < 2:
        raise InvalidConfig(
            f"the {len(snapshot.episodes)} episodes have {len(groups)} start(s) between them; "
            "a division that keeps a start on one side needs at least two"
        )
    first = set(groups[: min(max(round(share * len(groups)), 1), len(groups) - 1)])

    def part(number: int, episodes: Iterable[str]) -> Snapshot:
        rule = f"part {number} of {snapshot.digest[:12]} split {share:g} by start, seed {seed}"
        return replace(snapshot, episodes=tuple(episodes), label_filter=rule)

    return (
        part(1, (e for e in snapshot.episodes if starts[e] in first)),
        part(2, (e for e in snapshot.episodes if starts[e] not in first)),
    )


def merge(*snapshots: Snapshot) -> Snapshot:
    """Return every episode of some snapshots once, in the order in which it first comes.

    What adds nothing leaves no trace: merging a snapshot with itself, or with a part of it, gives
    that snapshot.

    Raises:
        InvalidConfig: There is nothing to merge, or the split seeds differ.
    """
    if not snapshots:
        raise InvalidConfig("there is no snapshot to merge; expected at least one")
    if len(seeds := {s.split_seed for s in snapshots}) > 1:
        raise InvalidConfig(
            f"the snapshots to merge have the split seeds {sorted(seeds)}; an episode could be in "
            "training by one and in validation by another. Select the episodes again instead."
        )
    merged, *rest = snapshots
    for other in rest:
        known = set(merged.episodes)
        if added := tuple(e for e in other.episodes if e not in known):
            rule = f"{merged.digest[:12]} merged with {other.digest[:12]}"
            merged = replace(merged, episodes=merged.episodes + added, label_filter=rule)
    return merged


def subtract(snapshot: Snapshot, other: Snapshot) -> Snapshot:
    """Return a snapshot without the episodes of another; what takes nothing leaves no trace."""
    taken = set(other.episodes)
    left = tuple(e for e in snapshot.episodes if e not in taken)
    if left == snapshot.episodes:
        return snapshot
    rule = f"{snapshot.digest[:12]} without {other.digest[:12]}"
    return replace(snapshot, episodes=left, label_filter=rule)


def judgement(verdict: Verdict | None) -> Judgement:
    """Return what a standing verdict amounts to, or that there is none."""
    return verdict.outcome if verdict else "unjudged"


def snapshot_digests(workspace: Workspace) -> list[str]:
    """Return the digests of the workspace's snapshots, oldest first."""
    files = sorted(
        workspace.snapshots_folder.glob("*.json"), key=lambda path: (path.stat().st_mtime, path)
    )
    return [path.stem for path in files]


def _candidates_for(workspace: Workspace, query: Query) -> list[EpisodeRow]:
    """Return the episodes to choose from, in order, with one question to the index."""
    if query.snapshots:
        named = [e for s in query.snapshots for e in load_snapshot(workspace, s).episodes]
        return list(workspace.ledger.episodes_by_id(named).values())
    return workspace.ledger.episodes(
        scenario=_only(query.scenarios),
        kind=_only(query.kinds),
        candidate=_only(query.candidates),
        censored=query.censored is not False,
    )


def _row_matches(row: EpisodeRow, query: Query) -> bool:
    return (
        (not query.kinds or row.kind in query.kinds)
        and (not query.scenarios or row.scenario in query.scenarios)
        and (not query.candidates or row.candidate in query.candidates)
        and (query.censored is None or query.censored == (row.censored is not None))
    )


def _in_box(rows: Sequence[EpisodeRow], box: Box | None) -> list[EpisodeRow]:
    """Return the rows that start in a box; another scenario's start may lack its parameters."""
    if box is None:
        return list(rows)
    names = set(box.low)
    known = {name for row in rows for name in row.start}
    if rows and (unknown := names - known):
        raise InvalidConfig(
            f"no episode has the start parameter(s) {sorted(unknown)}; known: {sorted(known)}"
        )
    return [row for row in rows if names <= row.start.keys() and box.contains(row.start)]


def _labelled(workspace: Workspace, rows: Sequence[EpisodeRow], query: Query) -> list[EpisodeRow]:
    noted = workspace.ledger.annotations([row.id for row in rows])
    labels = {row.id: {a.label for a in noted.get(row.id, ())} for row in rows}
    return [
        row
        for row in rows
        if (not query.labels or labels[row.id] & set(query.labels))
        and not labels[row.id] & set(query.without_labels)
    ]


def _body(workspace: Workspace, episode_id: str) -> str:
    return read_description(workspace.episodes_folder / episode_id).header.body


def _starts(workspace: Workspace, snapshot: Snapshot) -> Mapping[str, str]:
    """Return what names the start of each episode; two seeds may lead to the same start."""
    rows = workspace.ledger.episodes_by_id(snapshot.episodes)
    if missing := [e for e in snapshot.episodes if e not in rows]:
        raise InvalidConfig(
            f"{len(missing)} episode(s) of the snapshot are not on record, {missing[0]} first; "
            "select from the snapshot to leave them out"
        )

    def start(row: EpisodeRow) -> str:
        where: Json = dict(row.start) or row.seed
        return digest_json([row.scenario, where])

    return {e: start(rows[e]) for e in snapshot.episodes}


def _only(words: Sequence[Word]) -> Word | None:
    return words[0] if len(words) == 1 else None


def _check_words(what: str, words: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [word for word in words if word not in known]:
        raise InvalidConfig(f"{what} {unknown[0]!r}; expected one of {', '.join(known)}")


def _clause(name: str, words: Iterable[str], between: str = " or ") -> str:
    listed = between.join(words)
    return f"{name} {listed}" if listed else ""


def _box_clauses(box: Box | None) -> list[str]:
    if box is None:
        return []
    return [f"{name} in {box.low[name]}..{box.high[name]}" for name in sorted(box.low)]


def _left_out_clause(episodes: Sequence[str]) -> str:
    """Name the episodes by a digest: there may be thousands."""
    if not episodes:
        return ""
    if len(episodes) <= 3:
        return _clause("without", sorted(episodes), ", ")
    return f"without {len(episodes)} episodes {digest_json(sorted(episodes))[:12]}"
