"""Episodes in the ledger: an index of what is recorded, verdicts beside it, seeds used up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loopwright.core.digest import canonical_json
from loopwright.core.episode import Annotation, SourceKind, Verdict
from loopwright.core.errors import DamagedData
from loopwright.core.scenario import Split
from loopwright.store.ledger.database import Table, now_s, stored_json
from loopwright.store.ledger.row_sums import row_sum

_RANK = {"verifier": 0, "judge": 1, "operator": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRow:
    """What the ledger knows about a committed episode."""

    id: str
    """Name of its folder. A whole episode has its header's id; one that was cut short adds its
    digest to that, so that it never stands in the way of the whole one."""
    digest: str
    kind: SourceKind
    scenario: str
    seed: int
    start: Mapping[str, float]
    candidate: str | None
    num_steps: int
    censored: str | None = None


class EpisodeTable(Table):
    """Episodes, verdicts and seed uses: facts that are added and never changed."""

    def add_episode(self, row: EpisodeRow) -> None:
        """Index a committed episode; doing it again changes nothing.

        Raises:
            DamagedData: Another digest is on record for that id.
        """
        with self._database.change() as connection:
            recorded = connection.execute(
                "SELECT digest FROM episodes WHERE id = ?", [row.id]
            ).fetchone()
            if recorded is None:
                values = (
                    row.id,
                    row.digest,
                    row.kind,
                    row.scenario,
                    row.seed,
                    canonical_json(dict(row.start)).decode(),
                    row.candidate,
                    row.num_steps,
                    row.censored,
                    now_s(),
                )
                connection.execute(
                    "INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
                )
            elif recorded[0] != row.digest:
                raise DamagedData(
                    f"episode {row.id} is on record with the digest {recorded[0][:12]}, "
                    f"but {row.digest[:12]} was offered; an episode never changes"
                )

    def forget_episodes(self, episode_ids: Iterable[str]) -> None:
        """Take episodes whose files are gone out of the index; verdicts on them stay."""
        with self._database.change() as connection:
            connection.executemany(
                "DELETE FROM episodes WHERE id = ?", [(identity,) for identity in episode_ids]
            )

    def episodes(
        self,
        *,
        scenario: str | None = None,
        kind: SourceKind | None = None,
        candidate: str | None = None,
        censored: bool = False,
    ) -> list[EpisodeRow]:
        """Return the indexed episodes that match, ordered by scenario, kind, seed and id.

        Args:
            scenario: Only of this scenario.
            kind: Only of this source kind.
            candidate: Only attempts of this candidate.
            censored: Also those that were cut short.
        """
        found = self._database.rows(
            _SELECT_EPISODES + " WHERE (?1 IS NULL OR scenario = ?1) AND (?2 IS NULL OR kind = ?2)"
            " AND (?3 IS NULL OR candidate = ?3) AND (?4 OR censored IS NULL)"
            " ORDER BY scenario, kind, seed, id",
            (scenario, kind, candidate, censored),
        )
        return [_episode_row(values) for values in found]

    def episode(self, episode_id: str) -> EpisodeRow | None:
        """Return one episode of the index, if it is there."""
        found = self._database.rows(_SELECT_EPISODES + " WHERE id = ?", [episode_id])
        return _episode_row(found[0]) if found else None

    def episodes_by_id(self, episode_ids: Iterable[str]) -> dict[str, EpisodeRow]:
        """Return those of the asked episodes that are in the index, censored ones too, by id.

        They come in the order in which they were asked for. What it takes grows with their number,
        not with that of all episodes.
        """
        asked = list(dict.fromkeys(episode_ids))
        found = self._database.rows(
            _SELECT_EPISODES + " WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(asked)]
        )
        rows = {row.id: row for row in map(_episode_row, found)}
        return {identity: rows[identity] for identity in asked if identity in rows}

    def episode_ids(self) -> set[str]:
        """Return the id of every indexed episode, censored ones too."""
        return {identity for (identity,) in self._database.rows("SELECT id FROM episodes")}

    def add_verdict(self, verdict: Verdict) -> None:
        """Append a verdict, unless the same one is its authority's newest already."""
        text = canonical_json(verdict.to_json()).decode()
        rank = _RANK[verdict.authority]
        with self._database.change() as connection:
            newest = connection.execute(
                "SELECT verdict FROM verdicts WHERE episode = ? AND rank = ?"
                " ORDER BY number DESC LIMIT 1",
                (verdict.episode, rank),
            ).fetchone()
            if newest is None or newest[0] != text:
                connection.execute(
                    "INSERT INTO verdicts (episode, rank, verdict, added_at) VALUES (?, ?, ?, ?)",
                    (verdict.episode, rank, text, now_s()),
                )

    def verdicts(self, episode_id: str) -> list[Verdict]:
        """Return every verdict on an episode, oldest first."""
        found = self._database.rows(
            f"SELECT {_VERDICT} FROM verdicts WHERE episode = ? ORDER BY number", [episode_id]
        )
        return [_verdict(values) for values in found]

    def standing_verdict(self, episode_id: str) -> Verdict | None:
        """Return the verdict that counts: the highest authority's newest one."""
        return self.standing_verdicts([episode_id]).get(episode_id)

    def standing_verdicts(self, episode_ids: Iterable[str]) -> dict[str, Verdict]:
        """Return the verdicts that count, for those episodes that have one.

        Raises:
            DamagedData: A verdict is not what was written.
        """
        found = self._database.rows(
            f"SELECT {_VERDICT} FROM (SELECT *, row_number() OVER"
            " (PARTITION BY episode ORDER BY rank, number DESC) AS place FROM verdicts"
            " WHERE episode IN (SELECT value FROM json_each(?))) AS verdicts WHERE place = 1",
            [json.dumps(list(episode_ids))],
        )
        return {verdict.episode: verdict for verdict in map(_verdict, found)}

    def add_annotation(self, annotation: Annotation) -> None:
        """Append an annotation."""
        text = canonical_json(annotation.to_json()).decode()
        with self._database.change() as connection:
            connection.execute(
                "INSERT INTO annotations (episode, annotation, added_at) VALUES (?, ?, ?)",
                (annotation.episode, text, now_s()),
            )

    def annotations(self, episode_ids: Iterable[str]) -> dict[str, list[Annotation]]:
        """Return the annotations that stand, oldest first, for those episodes that have one."""
        found = self._database.rows(
            "SELECT annotation FROM annotations"
            " WHERE episode IN (SELECT value FROM json_each(?)) ORDER BY number",
            [json.dumps(list(episode_ids))],
        )
        standing: dict[str, dict[tuple, Annotation]] = {}
        for (text,) in found:
            annotation = Annotation.from_json(stored_json(text, "an annotation"))
            places = standing.setdefault(annotation.episode, {})
            places.pop(annotation.place, None)
            if not annotation.withdrawn:
                places[annotation.place] = annotation
        return {episode: list(places.values()) for episode, places in standing.items() if places}

    def use_seeds(self, split: Split, scenario: str, seeds: Iterable[int], purpose: str) -> None:
        """Count seeds as used for a purpose; the same purpose counts once.

        Args:
            split: Which split they are of (``"sealed"`` is the one to be sparing with).
            scenario: Of which scenario.
            seeds: The seeds.
            purpose: What for: one text per look (``"run 1f3a, sealed evaluation 2"``).
        """
        moment = now_s()
        values = [(split, scenario, seed, purpose, moment) for seed in seeds]
        with self._database.change() as connection:
            connection.executemany("INSERT OR IGNORE INTO seed_uses VALUES (?, ?, ?, ?, ?)", values)

    def seed_uses(self, split: Split, scenario: str) -> dict[int, int]:
        """Return how often each seed was used, for different purposes."""
        found = self._database.rows(
            "SELECT seed, count(*) FROM seed_uses WHERE split = ? AND scenario = ?"
            " GROUP BY seed ORDER BY seed",
            (split, scenario),
        )
        return dict(found)

    def seed_purposes(self, split: Split, scenario: str) -> dict[int, tuple[str, ...]]:
        """Return what each seed was used for, the oldest use first."""
        purposes: dict[int, tuple[str, ...]] = {}
        for seed, purpose in self._database.rows(
            "SELECT seed, purpose FROM seed_uses WHERE split = ? AND scenario = ?"
            " ORDER BY used_at, purpose",
            (split, scenario),
        ):
            purposes[seed] = (*purposes.get(seed, ()), purpose)
        return purposes


_SELECT_EPISODES = (
    "SELECT id, digest, kind, scenario, seed, start, candidate, num_steps, censored FROM episodes"
)


_VERDICT = (
    "number, episode, rank, verdict, added_at, (SELECT sum FROM row_sums"
    " WHERE of_table = 'verdicts' AND key = json_array(verdicts.number))"
)


def _verdict(values: tuple) -> Verdict:
    """Read a verdict; a label decides what is learned, so its checksum is looked at."""
    *row, written = values
    if row_sum(*row) != written:
        raise DamagedData(
            f"verdict {row[0]} on episode {row[1]} in the ledger is not what was written; "
            "run 'loopwright data doctor'"
        )
    return Verdict.from_json(json.loads(row[3]))


def _episode_row(values: tuple) -> EpisodeRow:
    identity, digest, kind, scenario, seed, start, candidate, num_steps, censored = values
    return EpisodeRow(
        id=identity,
        digest=digest,
        kind=kind,
        scenario=scenario,
        seed=seed,
        start=stored_json(start, f"the start of episode {identity}"),
        candidate=candidate,
        num_steps=num_steps,
        censored=censored,
    )
