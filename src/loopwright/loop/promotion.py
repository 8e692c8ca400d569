"""Rolling back. A rollback is a promotion of an earlier champion: compared, swapped, recorded."""

from __future__ import annotations

from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.store.ledger import Decision, Ledger


def roll_back(ledger: Ledger, run_id: str, *, to: str | None = None, reason: str = "") -> Decision:
    """Make an earlier champion of a run its champion again.

    Args:
        ledger: Where the run is on record.
        run_id: The run, which is also the alias of its champion.
        to: Digest of the earlier champion, or its beginning; default: the one before the present.
        reason: Why, for the record.

    Raises:
        InvalidConfig: There is no earlier champion.
        UnknownName: No earlier champion has that digest.
        StaleChampion: The champion changed meanwhile.
    """
    moves = ledger.promotions(run_id)
    if not moves:
        raise InvalidConfig(f"run {run_id} has no champion yet, so there is nothing to roll back")
    present = moves[-1].candidate
    earlier = [m.candidate for m in moves[:-1] if m.candidate != present]
    if to is not None:
        earlier = [c for c in earlier if c.startswith(to)]
        if not earlier:
            raise UnknownName("champion", to, {m.candidate for m in moves[:-1]})
    if not earlier:
        raise InvalidConfig(f"run {run_id} had no champion before {present[:12]}")
    return ledger.promote(
        alias=run_id,
        candidate=earlier[-1],
        expected=present,
        decision_id=f"{run_id}/rollback-{len(moves)}",
        kind="rollback",
        reason=reason,
    )
