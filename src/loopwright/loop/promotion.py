"""Rolling back. A rollback is a promotion of an earlier champion: compared, swapped, recorded."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import InvalidConfig, NotCertified, UnknownName
from loopwright.loop.certified import certificate_of
from loopwright.loop.config import LoopConfig
from loopwright.store.ledger import Decision
from loopwright.store.workspace import Workspace


def roll_back(
    workspace: Workspace, run_id: str, *, to: str | None = None, reason: str = ""
) -> Decision:
    """Make an earlier champion of a run its champion again.

    Args:
        workspace: Where the run is on record.
        run_id: The run, which is also the alias of its champion.
        to: Digest of any other champion that the run had, or its beginning; default: the one
            before the present. Who was rolled back from is no longer before it.
        reason: Why, for the record.

    Raises:
        InvalidConfig: There is no earlier champion.
        UnknownName: No earlier champion has that digest.
        NotCertified: The recipe promotes only with a certificate, and the earlier champion holds
            none now; a first champion never held one.
        StaleChampion: The champion changed meanwhile.
    """
    moves = workspace.ledger.promotions(run_id)
    if not moves:
        raise InvalidConfig(f"run {run_id} has no champion yet, so there is nothing to roll back")
    present = moves[-1].candidate
    earlier = standing_before(moves)
    if to is not None:
        others = [m.candidate for m in moves if m.candidate != present]
        earlier = [c for c in others if c.startswith(to)]
        if not earlier:
            raise UnknownName("champion", to, set(others))
    if not earlier:
        raise InvalidConfig(
            f"run {run_id} had no champion before {present[:12]}; --to DIGEST goes to any other "
            "that it had ('loopwright history --json' names them)"
        )
    _require_certificate(workspace, run_id, earlier[-1])
    return workspace.ledger.promote(
        alias=run_id,
        candidate=earlier[-1],
        expected=present,
        decision_id=f"{run_id}/rollback-{len(moves)}",
        kind="rollback",
        reason=reason,
    )


def standing_before(moves: Sequence[Decision]) -> list[str]:
    """Return the champions that stand below the present one, the oldest first.

    A promotion puts a champion on top of the others. A rollback takes off those above the one it
    goes back to, so that going back twice goes back further, never forward again.
    """
    stack: list[str] = []
    for move in moves:
        if move.kind == "rollback" and move.candidate in stack:
            while stack[-1] != move.candidate:
                stack.pop()
        else:
            stack.append(move.candidate)
    return [candidate for candidate in stack[:-1] if candidate != stack[-1]]


def _require_certificate(workspace: Workspace, run_id: str, candidate: str) -> None:
    config = LoopConfig.from_json(workspace.ledger.run(run_id).config)
    if config.certificate is None:
        return
    try:
        certificate_of(workspace, config, candidate)
    except NotCertified as error:
        raise NotCertified(
            f"{error}; this run goes back only to what holds its certificate of level "
            f"{config.certificate.level}. Robots are stopped by a directive ('loopwright directive "
            "issue'), not by a rollback"
        ) from error
