"""Campaigns: running a registered plan, with every episode logged before it counts.

What a campaign knows is a fold over the register, so it may be stopped and reopened at any moment,
and anybody can repeat the count. Each cell (a stratum with the filter on or off) is run in the
order of its planned seeds, without a gap; which cell comes next, and when to stop, may depend on
anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from loopwright.core.digest import digest_json
from loopwright.core.errors import (
    ContractError,
    DamagedData,
    InvalidConfig,
    NotCertified,
    UnknownName,
    Untrusted,
)
from loopwright.safety.certificate.claims import ARMS, Arm, Claim
from loopwright.safety.certificate.plan import Register, TestPlan, find_plan
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed, Statement

LOOK = "look/v1"
Cell = tuple[str, Arm]
Standing = Literal["open", "shown", "lost", "blocked"]
"""``shown``: every claim is. ``lost``: one is out of reach. ``blocked``: too many outcomes are
unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One episode of a campaign."""

    stratum: str
    arm: Arm
    seed: int
    failed: Mapping[str, bool | None]
    """Kind of claim to whether the episode failed in it; None where that is not known."""
    evidence: str = ""
    """Digest of the recorded episode, if it is kept."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "stratum": self.stratum,
            "arm": self.arm,
            "seed": self.seed,
            "failed": dict(self.failed),
            "evidence": self.evidence,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no trial.
        """
        try:
            return cls(**{**data, "failed": dict(data["failed"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedData(f"this is no trial: {error}") from error


@dataclass(kw_only=True, slots=True)
class Count:
    """What has been counted in one cell."""

    episodes: int = 0
    unclear: int = 0
    """Episodes with an unknown outcome of any kind."""
    outcomes: Counter[tuple[str, bool | None]] = field(default_factory=Counter)
    """How often each kind of claim had each outcome."""

    def add(self, trial: Trial) -> None:
        """Count an episode."""
        self.episodes += 1
        self.unclear += None in trial.failed.values()
        self.outcomes.update(trial.failed.items())


@dataclass(kw_only=True, slots=True)
class Tally:
    """The trials of a plan, counted; knows no register."""

    plan: TestPlan
    cells: dict[Cell, Count] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing counted."""
        self.cells = {cell: Count() for cell in self.plan.cells}

    def copy(self) -> Tally:
        """Return a tally that can go on without this one."""
        copy = Tally(plan=self.plan)
        copy.cells = {
            cell: replace(count, outcomes=count.outcomes.copy())
            for cell, count in self.cells.items()
        }
        return copy

    @property
    def episodes(self) -> int:
        """All episodes counted."""
        return sum(count.episodes for count in self.cells.values())

    def next_seed(self, stratum: str, arm: Arm) -> int | None:
        """Return the seed that a cell must run next; None when its seeds are used up."""
        seeds = self.plan.stratum(stratum).seeds
        if (stratum, arm) not in self.cells:
            raise UnknownName("arm", str(arm), ARMS)
        done = self.cells[stratum, arm].episodes
        return seeds[done] if done < len(seeds) else None

    def add(self, trial: Trial) -> None:
        """Count a trial, if the plan foresees it at this place.

        Raises:
            UnknownName: There is no such stratum or arm.
            ContractError: It has another seed, or other kinds of outcome, than planned.
        """
        due = self.next_seed(trial.stratum, trial.arm)
        where = f"{trial.stratum}, {trial.arm}"
        if due is None or trial.seed != due:
            raise ContractError(
                f"{where}: seed {trial.seed} is not the one that is due ({due}); "
                "the seeds of a cell are run in the order of the plan, each once"
            )
        kinds = self.plan.kinds(trial.arm)
        known = all(value is None or isinstance(value, bool) for value in trial.failed.values())
        if set(trial.failed) != set(kinds) or not known:
            raise ContractError(
                f"{where}: outcomes {dict(trial.failed)}; expected True, False or None for each "
                f"of {kinds}"
            )
        self.cells[trial.stratum, trial.arm].add(trial)

    def claims(self) -> tuple[Claim, ...]:
        """Return every claim with what has been counted."""
        return tuple(self._claims())

    def standing(self, arms: Collection[Arm] = ARMS) -> tuple[Standing, str]:
        """Return how it stands, or how some of its arms do, and why, in one sentence."""
        for (stratum, arm), count in self.cells.items():
            if arm not in arms:
                continue
            planned = len(self.plan.stratum(stratum).seeds)
            if count.unclear > self.plan.max_unknown_share * planned:
                return "blocked", (
                    f"{stratum}, {arm}: {count.unclear} of {count.episodes} episodes have no known "
                    f"outcome, more than {self.plan.max_unknown_share:.0%} of {planned}; "
                    "find out why"
                )
        claims = [claim for claim in self.claims() if claim.arm in arms]
        for claim in claims:
            planned = len(self.plan.stratum(claim.stratum).seeds)
            if claim.is_lost(planned - claim.episodes):
                return "lost", f"out of reach within {planned:,} episodes: {claim}"
        waiting = [claim for claim in claims if not self.is_met(claim)]
        if waiting:
            return "open", f"{len(waiting)} claims are open, such as {waiting[0]}"
        return "shown", f"all {len(claims)} claims are shown"

    def is_met(self, claim: Claim) -> bool:
        """Tell whether a claim is shown and its outcomes are known well enough."""
        return claim.is_met and claim.unknown <= self.plan.max_unknown_share * claim.episodes

    def open_cells(self, arms: Collection[Arm] = ARMS) -> tuple[Cell, ...]:
        """Return the cells, of these arms, that have an open claim and seeds left."""
        waiting = {(c.stratum, c.arm) for c in self._claims() if not self.is_met(c)}
        return tuple(
            cell
            for cell in self.cells
            if cell[1] in arms and cell in waiting and self.next_seed(*cell) is not None
        )

    def _claims(self) -> Iterator[Claim]:
        for (stratum, arm), count in self.cells.items():
            for aim in self.plan.aims:
                if aim.arm == arm:
                    yield self.plan.claim(
                        aim,
                        stratum,
                        episodes=count.episodes,
                        failed=count.outcomes[aim.kind, True],
                        unknown=count.outcomes[aim.kind, None],
                    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Everything that a register says of one plan."""

    plan: TestPlan
    signer: str
    """Id of the key that registered the plan and logged its episodes."""
    tally: Tally
    ended: str | None
    """Why no more is run; None while it may be."""
    logged: str
    """Digest of all looks in order: the evidence, in 64 digits."""


def read_account(digest: str, register: Register) -> Account:
    """Count everything that a register holds of a plan.

    Raises:
        NotCertified: The plan is not registered, or clashes with an earlier one.
        Untrusted: Somebody else than who registered the plan logged an episode of it.
        DamagedData: What was logged does not follow the plan.
    """
    plan, signed = find_plan(digest, register)
    signer, tally, ended, looks = signed.signatures[0][0], Tally(plan=plan), None, []
    for entry in register.statements(LOOK):
        statement = entry.signed.statement
        if statement.predicate.get("plan") != digest:
            continue
        if entry.signed.signatures[0][0] != signer:
            raise Untrusted(
                f"entry {entry.number} logs plan {digest[:16]} with another key than its plan's"
            )
        if ended is not None:
            raise DamagedData(f"entry {entry.number} logs plan {digest[:16]}, which had ended")
        ended = _count(statement, tally)
        looks.append(statement.digest)
    logged = digest_json(looks)
    return Account(plan=plan, signer=signer, tally=tally, ended=ended, logged=logged)


def _count(statement: Statement, tally: Tally) -> str | None:
    """Count the trials of a look; return why the campaign ended with it, if it did."""
    trials, ended = statement.predicate.get("trials"), statement.predicate.get("ended")
    if not isinstance(trials, (list, tuple)) or not isinstance(ended, (str, type(None))):
        raise DamagedData(f"a look holds the trials {trials!r} and the end {ended!r}")
    try:
        for trial in trials:
            tally.add(Trial.from_json(cast(Mapping[str, Any], trial)))
    except (ContractError, UnknownName) as error:
        raise DamagedData(f"what was logged does not follow the plan: {error}") from error
    return ended


class Campaign:
    """Runs a registered plan; reopening it goes on where it stood."""

    def __init__(self, plan: TestPlan, register: Register, key: SigningKey) -> None:
        """Open the campaign of a plan.

        Args:
            plan: Registered before (:func:`~loopwright.safety.certificate.plan.register_plan`).
            register: Where everything is logged.
            key: The key that the plan was registered with.

        Raises:
            NotCertified: The plan is not registered, or clashes with an earlier one.
            Untrusted: The plan was registered with another key.
        """
        account = read_account(plan.digest, register)
        if account.signer != key.id:
            raise Untrusted(
                f"plan {plan.digest[:16]} was registered with key {account.signer}, "
                f"not {key.id}; who registers a plan runs it"
            )
        self.plan, self.tally, self.ended = account.plan, account.tally, account.ended
        self._register, self._key = register, key

    def record(self, *trials: Trial) -> None:
        """Log trials for ever, then count them.

        Raises:
            ContractError: A trial is not the one that is due.
            UnknownName: It names no stratum or arm of the plan.
            NotCertified: The campaign has ended.
        """
        self._refuse_if_ended()
        if not trials:
            raise InvalidConfig("a look without trials shows nothing; record at least one")
        rehearsal = self.tally.copy()
        for trial in trials:
            rehearsal.add(trial)
        self._log(trials, None)
        self.tally = rehearsal

    def claims(self) -> tuple[Claim, ...]:
        """Return every claim with what has been logged so far."""
        return self.tally.claims()

    def standing(self) -> tuple[Standing, str]:
        """Return how it stands, and why, in one sentence."""
        return self.tally.standing()

    def end(self, reason: str = "") -> str:
        """Say for ever that nothing more is run, and why; a campaign may be abandoned so.

        Raises:
            InvalidConfig: It is open, and no reason is given.
            NotCertified: It has ended before.
        """
        self._refuse_if_ended()
        standing, why = self.standing()
        if standing == "open" and not reason.strip():
            raise InvalidConfig(f"an open campaign is abandoned with a reason only; {why}")
        ended = reason or f"{standing}: {why}"
        self._log((), ended)
        self.ended = ended
        return ended

    def _log(self, trials: tuple[Trial, ...], ended: str | None) -> None:
        predicate = {
            "plan": self.plan.digest,
            "from": self.tally.episodes,
            "trials": [trial.to_json() for trial in trials],
            "ended": ended,
        }
        statement = Statement(kind=LOOK, subjects={"plan": self.plan.digest}, predicate=predicate)
        self._register.append(Signed.by(statement, self._key))

    def _refuse_if_ended(self) -> None:
        if self.ended is not None:
            raise NotCertified(f"this campaign has ended ({self.ended}); register a new plan")
