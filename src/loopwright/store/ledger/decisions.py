"""Decisions in the ledger: which candidate an alias points to, and why, exactly once each."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from loopwright.core.errors import ContractError, InvalidConfig, StaleChampion
from loopwright.store.ledger.database import Table, now_s

MoveKind = Literal["genesis", "promotion", "rollback"]
"""The first champion; a challenger that passed its gate; a former champion called back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What was decided about an alias: that it moves to a candidate, or that it does not."""

    id: str
    alias: str
    kind: Literal["genesis", "promotion", "rollback", "refusal"]
    candidate: str
    """Digest of the candidate that was judged."""
    champion_before: str | None
    """Digest that the alias pointed to when it was decided."""
    gate_report: str | None
    """Digest of the object that says why; None where no gate was asked."""
    reason: str
    """One sentence for a person."""
    decided_at: float


class DecisionTable(Table):
    """Promotions and refusals. The champion of an alias is the candidate of its last move."""

    def promote(
        self,
        *,
        alias: str,
        candidate: str,
        expected: str | None,
        decision_id: str,
        kind: MoveKind = "promotion",
        gate_report: str | None = None,
        reason: str = "",
    ) -> Decision:
        """Point an alias to a candidate, if it still points to ``expected``.

        The same ``decision_id`` again returns what was recorded the first time.

        Args:
            alias: The name that is deployed (``"champion"``).
            candidate: Digest of its new champion.
            expected: Digest of the champion that the decision was made against; None for the
                first one (``kind="genesis"``).
            decision_id: Digest over everything that was decided upon.
            kind: What sort of move it is.
            gate_report: Digest of the stored report; needed for a promotion.
            reason: One sentence for a person.

        Raises:
            StaleChampion: The alias points to something else by now.
            ContractError: The id is on record for another decision.
            InvalidConfig: The move is none: to the champion itself, a promotion without a
                report, or a rollback to what never was champion.
        """
        decision = Decision(
            id=decision_id,
            alias=alias,
            kind=kind,
            candidate=candidate,
            champion_before=expected,
            gate_report=gate_report,
            reason=reason,
            decided_at=now_s(),
        )
        _check_move(decision)
        with self._database.change() as connection:
            recorded = _recorded(connection, decision)
            if recorded is not None:
                return recorded
            champion = _champion(connection, alias)
            if champion != expected:
                raise StaleChampion(
                    f"{alias!r} points to {_short(champion)}, but the decision was made against "
                    f"{_short(expected)}; run the gate again"
                )
            if kind == "rollback" and not _was_champion(connection, alias, candidate):
                raise InvalidConfig(
                    f"{_short(candidate)} never was the champion of {alias!r}; "
                    "a rollback goes back to one that was ('loopwright history' lists them)"
                )
            _insert(connection, decision)
        return decision

    def refuse(
        self,
        *,
        alias: str,
        candidate: str,
        expected: str | None,
        decision_id: str,
        gate_report: str | None = None,
        reason: str = "",
    ) -> Decision:
        """Record that a candidate does not become champion; the same id again changes nothing.

        Raises:
            ContractError: The id is on record for another decision.
        """
        decision = Decision(
            id=decision_id,
            alias=alias,
            kind="refusal",
            candidate=candidate,
            champion_before=expected,
            gate_report=gate_report,
            reason=reason,
            decided_at=now_s(),
        )
        with self._database.change() as connection:
            recorded = _recorded(connection, decision)
            if recorded is not None:
                return recorded
            _insert(connection, decision)
        return decision

    def champion(self, alias: str) -> str | None:
        """Return the digest of the candidate that an alias points to, if to any."""
        found = self._database.rows(_CHAMPION, [alias])
        return found[0][0] if found else None

    def promotions(self, alias: str) -> list[Decision]:
        """Return every move of an alias, oldest first: the history of its champions."""
        return [d for d in self.decisions(alias) if d.kind != "refusal"]

    def decisions(self, alias: str) -> list[Decision]:
        """Return every decision about an alias, refusals too, oldest first."""
        found = self._database.rows(_SELECT_DECISIONS + " WHERE alias = ? ORDER BY number", [alias])
        return [_decision(values) for values in found]

    def aliases(self) -> list[str]:
        """Return the names that something was decided about."""
        return [
            a for (a,) in self._database.rows("SELECT DISTINCT alias FROM decisions ORDER BY 1")
        ]


_CHAMPION = (
    "SELECT candidate FROM decisions WHERE alias = ? AND kind != 'refusal'"
    " ORDER BY number DESC LIMIT 1"
)
_SELECT_DECISIONS = (
    "SELECT id, alias, kind, candidate, champion_before, gate_report, reason, decided_at"
    " FROM decisions"
)


def _check_move(decision: Decision) -> None:
    first = decision.champion_before is None
    if (decision.kind == "genesis") != first:
        raise InvalidConfig(
            f"a {decision.kind} of {decision.alias!r} expects {decision.champion_before!r}; "
            "the first champion, and no other, is a genesis with expected=None"
        )
    if decision.kind == "promotion" and decision.gate_report is None:
        raise InvalidConfig(
            f"promotion {_short(decision.id)} names no gate report; store the report first"
        )
    if decision.candidate == decision.champion_before:
        raise InvalidConfig(
            f"{_short(decision.candidate)} is the champion of {decision.alias!r} already"
        )


def _recorded(connection: sqlite3.Connection, offered: Decision) -> Decision | None:
    found = connection.execute(_SELECT_DECISIONS + " WHERE id = ?", [offered.id]).fetchone()
    if found is None:
        return None
    recorded = _decision(found)
    if _content(recorded) != _content(offered):
        raise ContractError(
            f"decision {_short(offered.id)} is on record as a {recorded.kind} of "
            f"{_short(recorded.candidate)} for {recorded.alias!r}, but a {offered.kind} of "
            f"{_short(offered.candidate)} for {offered.alias!r} was offered; "
            "a decision id stands for one decision"
        )
    return recorded


def _content(decision: Decision) -> tuple[str | None, ...]:
    return (
        decision.alias,
        decision.kind,
        decision.candidate,
        decision.champion_before,
        decision.gate_report,
    )


def _champion(connection: sqlite3.Connection, alias: str) -> str | None:
    found = connection.execute(_CHAMPION, [alias]).fetchone()
    return found[0] if found else None


def _was_champion(connection: sqlite3.Connection, alias: str, candidate: str) -> bool:
    query = "SELECT 1 FROM decisions WHERE alias = ? AND candidate = ? AND kind != 'refusal'"
    return connection.execute(query, (alias, candidate)).fetchone() is not None


def _insert(connection: sqlite3.Connection, decision: Decision) -> None:
    connection.execute(
        "INSERT INTO decisions (id, alias, kind, candidate, champion_before, gate_report, reason,"
        " decided_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            decision.id,
            decision.alias,
            decision.kind,
            decision.candidate,
            decision.champion_before,
            decision.gate_report,
            decision.reason,
            decision.decided_at,
        ),
    )


def _decision(values: tuple) -> Decision:
    identity, alias, kind, candidate, champion_before, gate_report, reason, decided_at = values
    return Decision(
        id=identity,
        alias=alias,
        kind=kind,
        candidate=candidate,
        champion_before=champion_before,
        gate_report=gate_report,
        reason=reason,
        decided_at=decided_at,
    )


def _short(digest: str | None) -> str:
    return "nothing" if digest is None else digest[:12]
