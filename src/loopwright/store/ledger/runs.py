"""Runs in the ledger: a recipe that is being run, and the rounds it has finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.core.digest import Json, canonical_json, digest_json
from loopwright.core.errors import ContractError, UnknownName
from loopwright.store.ledger.database import Table, now_s, stored_json


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """A recipe with its resolved configuration, begun once and resumed from then on."""

    id: str
    recipe: str
    config: Any
    """Plain data, as it was given."""
    began_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundRow:
    """What a run recorded about one finished round."""

    number: int
    record: Any
    """Plain data, as it was given."""
    recorded_at: float


class RunTable(Table):
    """Runs and their rounds."""

    def begin_run(
        self, recipe: str, config: Mapping[str, Json], *, code: Mapping[str, Json] | None = None
    ) -> str:
        """Return the id of the run of this recipe and configuration; begin it if it is new.

        Args:
            recipe: Its name.
            config: Plain data.
            code: Digests of code that the configuration only names; other code is another run.
        """
        named = {"code": code} if code else {}
        identity = digest_json({"recipe": recipe, "config": config, **named})[:16]
        with self._database.change() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO runs (id, recipe, config, began_at) VALUES (?, ?, ?, ?)",
                (identity, recipe, canonical_json(config).decode(), now_s()),
            )
        return identity

    def runs(self) -> list[RunRow]:
        """Return every run, oldest first."""
        found = self._database.rows("SELECT id, recipe, config, began_at FROM runs ORDER BY number")
        return [
            RunRow(
                id=identity,
                recipe=recipe,
                config=stored_json(config, f"the configuration of run {identity}"),
                began_at=began_at,
            )
            for identity, recipe, config, began_at in found
        ]

    def run(self, run_id: str) -> RunRow:
        """Return one run.

        Raises:
            UnknownName: There is no such run.
        """
        runs = {run.id: run for run in self.runs()}
        if run_id not in runs:
            raise UnknownName("run", run_id, runs)
        return runs[run_id]

    def record_round(self, run_id: str, number: int, record: Mapping[str, Json]) -> None:
        """Append the record of a finished round; the same record again changes nothing.

        Raises:
            ContractError: Another record is there already, or an earlier round is missing.
            UnknownName: There is no such run.
        """
        self.run(run_id)
        text = canonical_json(record).decode()
        with self._database.change() as connection:
            recorded = [
                value
                for (value,) in connection.execute(
                    "SELECT record FROM rounds WHERE run = ? ORDER BY number", [run_id]
                )
            ]
            if number == len(recorded):
                connection.execute(
                    "INSERT INTO rounds VALUES (?, ?, ?, ?)", (run_id, number, text, now_s())
                )
            elif not 0 <= number < len(recorded):
                raise ContractError(
                    f"round {number} of run {run_id} cannot be recorded: the next one is "
                    f"{len(recorded)}"
                )
            elif recorded[number] != text:
                raise ContractError(
                    f"round {number} of run {run_id} is on record and differs from what was "
                    "offered; a finished round never changes. Begin a run with another "
                    "configuration instead."
                )

    def rounds(self, run_id: str) -> list[RoundRow]:
        """Return the finished rounds of a run, in order."""
        found = self._database.rows(
            "SELECT number, record, recorded_at FROM rounds WHERE run = ? ORDER BY number",
            [run_id],
        )
        return [
            RoundRow(
                number=number,
                record=stored_json(record, f"round {number} of run {run_id}"),
                recorded_at=recorded_at,
            )
            for number, record, recorded_at in found
        ]
