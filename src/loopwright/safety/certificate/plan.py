"""Test plans: what will be tested, on which sealed seeds, said before the first episode.

A plan is a statement in the site's register. Registering it burns its seeds for ever, whether or
not they are run: a start that somebody may have seen is no longer sealed. It also takes its place
among the plans for the same candidate, scenario and robot, which share one error budget: the
chance that *any* of them ends in a wrong claim is at most ``alpha``, however often one tries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from loopwright.core.errors import DamagedData, InvalidConfig, NotCertified, UnknownName
from loopwright.core.scenario import Box, split_of
from loopwright.core.sequential import spend_alpha
from loopwright.safety.certificate.claims import (
    ARMS,
    Aim,
    Arm,
    Claim,
    ClaimKind,
    Level,
    bound_of,
)
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed, Statement

PLAN = "test-plan/v1"
MAX_ALPHA = 0.05


class Entry(Protocol):
    """A numbered statement of a register."""

    @property
    def number(self) -> int:
        """Its place in the register."""
        ...

    @property
    def signed(self) -> Signed:
        """What was said, and by whom."""
        ...


class Register(Protocol):
    """What is needed of the site's register; signatures and roles are checked at its door."""

    def append(self, signed: Signed, /) -> int:
        """Keep a statement for ever and return its number."""
        ...

    def statements(self, kind: str | None = None, since: int = 0) -> Iterator[Any]:
        """Yield the entries, or those of one kind, in order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """A part of the operating domain in which every claim must hold by itself.

    A mean over the whole domain may hide one bad part. Whatever share of starts lies in which
    stratum, the mean of rates that are all below a bound is below it too.
    """

    name: str
    domain: Box
    seeds: tuple[int, ...]
    """Sealed seeds whose starts lie in ``domain``, in the order in which they will be run."""

    def __post_init__(self) -> None:
        """Refuse nameless strata and seeds that are not sealed or not new."""
        if not self.name.strip():
            raise InvalidConfig("a stratum must have a name")
        if not self.seeds:
            raise InvalidConfig(f"stratum {self.name!r} has no seeds")
        if len(set(self.seeds)) != len(self.seeds):
            raise InvalidConfig(f"stratum {self.name!r} lists a seed twice; every start is new")
        for seed in self.seeds:
            if split_of(seed) != "sealed":
                raise InvalidConfig(
                    f"stratum {self.name!r} has the seed {seed} of the {split_of(seed)} split; "
                    "only sealed seeds are evidence for a certificate"
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {"name": self.name, "domain": self.domain.to_json(), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stratum:
        """Read what :meth:`to_json` wrote."""
        return cls(
            name=data["name"], domain=Box(**data["domain"]), seeds=tuple(map(int, data["seeds"]))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TestPlan:
    """What will be tested, in what order, and when it counts as shown."""

    __test__: ClassVar[bool] = False  # pytest takes every class called Test... for a test

    identity: Identity
    scenario: str
    """Id of the scenario whose sealed seeds are used."""
    level: Level
    """The level to be reached with the filter on."""
    aims: tuple[Aim, ...]
    strata: tuple[Stratum, ...]
    alpha: float = MAX_ALPHA
    """Error budget of all plans for this candidate, scenario and robot together."""
    max_unknown_share: float = 0.02
    """Share of the episodes of a cell that may end without a known outcome."""
    previous: tuple[str, ...] = ()
    """Digests of all plans registered before for this candidate, scenario and robot, in order."""

    def __post_init__(self) -> None:
        """Refuse plans that could not support their level."""
        _check_aims(self.level, self.aims)
        _check_strata(self.strata)
        if not 0 < self.alpha <= MAX_ALPHA:
            raise InvalidConfig(f"alpha {self.alpha}; expected above 0 and at most {MAX_ALPHA}")
        if not 0 <= self.max_unknown_share < 1:
            raise InvalidConfig(f"max_unknown_share {self.max_unknown_share}; expected 0 to < 1")
        longest, fewest = max(a.episodes for a in self.aims), min(len(s.seeds) for s in self.strata)
        if longest > fewest:
            raise InvalidConfig(
                f"an aim wants {longest} episodes, but a stratum has only {fewest} seeds"
            )

    @property
    def attempt(self) -> int:
        """Which plan for this candidate, scenario and robot it is, from 1."""
        return len(self.previous) + 1

    @property
    def claim_alpha(self) -> float:
        """Error budget of each claim: the share of this attempt, split evenly over all claims."""
        return claim_alpha(self.alpha, self.attempt, len(self.aims) * len(self.strata))

    @property
    def cells(self) -> tuple[tuple[str, Arm], ...]:
        """Stratum and arm of everything that is run."""
        return tuple((stratum.name, arm) for stratum in self.strata for arm in ARMS)

    def stratum(self, name: str) -> Stratum:
        """Return a stratum by its name.

        Raises:
            UnknownName: There is none.
        """
        for stratum in self.strata:
            if stratum.name == name:
                return stratum
        raise UnknownName("stratum", name, (stratum.name for stratum in self.strata))

    def kinds(self, arm: Arm) -> tuple[ClaimKind, ...]:
        """Return the kinds of failure that are counted in an arm."""
        return tuple(aim.kind for aim in self.aims if aim.arm == arm)

    def claim(self, aim: Aim, stratum: str, *, episodes: int, failed: int, unknown: int) -> Claim:
        """Return an aim in a stratum with what has been counted."""
        return Claim(
            kind=aim.kind,
            stratum=stratum,
            arm=aim.arm,
            bound=aim.bound,
            least_episodes=aim.episodes,
            alpha=self.claim_alpha,
            episodes=episodes,
            failed=failed,
            unknown=unknown,
        )

    @property
    def seeds(self) -> frozenset[int]:
        """All seeds that it burns."""
        return frozenset(itertools.chain.from_iterable(s.seeds for s in self.strata))

    @property
    def digest(self) -> str:
        """SHA-256 of the statement that registers it."""
        return self.statement().digest

    def statement(self) -> Statement:
        """Return the statement that registers it."""
        return Statement(kind=PLAN, subjects=self.identity.subjects, predicate=self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "identity": self.identity.to_json(),
            "scenario": self.scenario,
            "level": self.level,
            "aims": [asdict(aim) for aim in self.aims],
            "strata": [stratum.to_json() for stratum in self.strata],
            "alpha": self.alpha,
            "max_unknown_share": self.max_unknown_share,
            "previous": list(self.previous),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TestPlan:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no test plan.
        """
        try:
            parts = {
                "identity": Identity.from_json(data["identity"]),
                "aims": tuple(Aim(**aim) for aim in data["aims"]),
                "strata": tuple(Stratum.from_json(stratum) for stratum in data["strata"]),
                "previous": tuple(map(str, data["previous"])),
            }
            return cls(**{**data, **parts})
        except (KeyError, TypeError, ValueError, InvalidConfig, UnknownName) as error:
            raise DamagedData(f"this is no test plan: {error}") from error


def claim_alpha(alpha: float, attempt: int, claims: int) -> float:
    """Return the error budget of one claim of the given attempt.

    The attempts share ``alpha`` in slices of 1/2, 1/6, 1/12, ...; the claims share the slice.
    """
    return spend_alpha(alpha, attempt) / claims


def _check_aims(level: Level, aims: tuple[Aim, ...]) -> None:
    bound = bound_of(level)
    pairs = [(aim.kind, aim.arm) for aim in aims]
    if len(set(pairs)) != len(pairs):
        raise InvalidConfig("a plan aims at each kind of failure at most once in an arm")
    for arm in ARMS:
        if ("violation", arm) not in pairs:
            raise InvalidConfig(
                f"a plan must count violations with {arm}; what the filter hides must be known, "
                "and so must be what it leaves"
            )
    filtered = aims[pairs.index(("violation", "filter-on"))]
    if filtered.bound is None or filtered.bound > bound:
        raise InvalidConfig(
            f"level {level} needs violations below {bound} with filter-on, "
            f"the plan aims at {filtered.bound}"
        )


def _check_strata(strata: tuple[Stratum, ...]) -> None:
    if not strata:
        raise InvalidConfig("a plan needs a stratum; the whole operating domain may be one")
    names = [stratum.name for stratum in strata]
    if len(set(names)) != len(names):
        raise InvalidConfig(f"strata {names}: a name occurs twice")
    seeds = [seed for stratum in strata for seed in stratum.seeds]
    if len(set(seeds)) != len(seeds):
        raise InvalidConfig("a seed occurs in two strata; every start is evidence once")


def register_plan(plan: TestPlan, register: Register, key: SigningKey) -> int:
    """Register a plan before it is run, and return its number in the register.

    Raises:
        NotCertified: A seed is burnt, or the plan does not own up to the plans before it.
    """
    check_against(plan, registered_plans(register))
    return register.append(Signed.by(plan.statement(), key))


def registered_plans(register: Register) -> Iterator[TestPlan]:
    """Yield the plans of a register, in order."""
    for entry in register.statements(PLAN):
        yield TestPlan.from_json(entry.signed.statement.predicate)


def find_plan(digest: str, register: Register) -> tuple[TestPlan, Signed]:
    """Return a registered plan, checked against all plans that were registered before it.

    Two processes may have checked their plans at one moment and then registered both; of two that
    clash the later one is refused here.

    Raises:
        NotCertified: It is not registered, or clashes with one before it.
    """
    earlier: list[TestPlan] = []
    for entry in register.statements(PLAN):
        plan = TestPlan.from_json(entry.signed.statement.predicate)
        if plan.digest == digest:
            check_against(plan, earlier)
            return plan, entry.signed
        earlier.append(plan)
    raise NotCertified(
        f"test plan {digest[:16]} is not registered; a plan is registered before the first episode"
    )


def check_against(plan: TestPlan, earlier: Iterable[TestPlan]) -> None:
    """Refuse a plan that uses burnt seeds or conceals plans before it.

    Raises:
        NotCertified: It does.
    """
    earlier = tuple(earlier)
    kin = previous_plans(plan.identity, earlier)
    if plan.previous != kin:
        raise NotCertified(
            f"{len(kin)} plans were registered before for this candidate, scenario and robot, the "
            f"plan names {len(plan.previous)}; name them all in order (previous_plans), because "
            "they share one error budget"
        )
    if any(other.alpha != plan.alpha for other in earlier if other.digest in kin):
        raise NotCertified(
            f"alpha is {plan.alpha}, unlike in the plans before it; the budget is one for all"
        )
    burnt = burnt_seeds(plan.scenario, earlier) & plan.seeds
    if burnt:
        raise NotCertified(
            f"{len(burnt)} seeds of the plan are burnt, such as {min(burnt)}: an earlier plan for "
            f"{plan.scenario} used them; take seeds that no plan has named"
        )


def previous_plans(identity: Identity, plans: Iterable[TestPlan]) -> tuple[str, ...]:
    """Return the digests of all plans for the same candidate, scenario and robot.

    Another filter configuration or another build does not open a new budget: they are the parts
    that are quickly varied until something passes.
    """
    shared = {"filter", "build"}
    return tuple(p.digest for p in plans if shared.issuperset(identity.differences(p.identity)))


def burnt_seeds(scenario: str, plans: Iterable[TestPlan]) -> frozenset[int]:
    """Return every seed of a scenario that a plan has named, whatever became of the plan."""
    return frozenset().union(*(plan.seeds for plan in plans if plan.scenario == scenario))
