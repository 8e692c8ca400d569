"""A site in memory: people with keys, a register, and plans to try on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from loopwright.core.digest import digest_json
from loopwright.core.scenario import Box, split_seed
from loopwright.safety.certificate.campaign import Campaign, Trial
from loopwright.safety.certificate.claims import Arm, level_aims
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.plan import Stratum, TestPlan, register_plan
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey
from loopwright.safety.statement import Signed

DAY_S = 86_400.0
NOW_S = 1_800_000_000.0
"""A moment in January 2027."""

ADA, BOB, EVE = SigningKey.new(), SigningKey.new(), SigningKey.new()


def holder(person: str, key: SigningKey, *roles: Role) -> Holder:
    return Holder(person=person, public=key.public, roles=frozenset(roles))


RING = KeyRing(
    [
        holder("Ada", ADA, "proposer"),
        holder("Bob", BOB, "approver"),
        holder("Eve", EVE, "proposer", "approver"),
    ]
)


@dataclass(frozen=True)
class Line:
    number: int
    signed: Signed


@dataclass
class ListRegister:
    """A register that keeps everything in a list."""

    lines: list[Line] = field(default_factory=list)

    def append(self, signed: Signed, /) -> int:
        signed.signers(RING)
        self.lines.append(Line(len(self.lines) + 1, signed))
        return len(self.lines)

    def statements(self, kind: str | None = None, since: int = 0) -> Iterator[Line]:
        for line in self.lines[since:]:
            if kind in (None, line.signed.statement.kind):
                yield line


def identity(**parts: str) -> Identity:
    named = {
        name: parts.get(name, name)
        for name in ("candidate", "scenario", "robot", "filter", "build")
    }
    return Identity(**{name: digest_json(text) for name, text in named.items()})


def seeds(first: int, count: int) -> tuple[int, ...]:
    return tuple(split_seed("sealed", first + i) for i in range(count))


def stratum(name: str = "near", first: int = 0, count: int = 200) -> Stratum:
    return Stratum(
        name=name, domain=Box(low={"x_m": 0.0}, high={"x_m": 1.0}), seeds=seeds(first, count)
    )


def plan(**changes: object) -> TestPlan:
    usual = TestPlan(
        identity=identity(),
        scenario="reach-v1",
        level="D",
        aims=level_aims("D"),
        strata=(stratum(),),
    )
    return replace(usual, **changes)


def opened(the_plan: TestPlan, register: ListRegister, key: SigningKey = ADA) -> Campaign:
    register_plan(the_plan, register, key)
    return Campaign(the_plan, register, key)


def trials(
    campaign: Campaign, stratum: str, arm: Arm, count: int, failed: bool | None = False
) -> list[Trial]:
    """Return the next trials of a cell, all with one outcome."""
    done = campaign.tally.cells[stratum, arm].episodes
    due = campaign.plan.stratum(stratum).seeds[done : done + count]
    outcome = dict.fromkeys(campaign.plan.kinds(arm), failed)
    return [Trial(stratum=stratum, arm=arm, seed=seed, failed=outcome) for seed in due]


def run(campaign: Campaign, count: int, failed: bool | None = False) -> None:
    """Log so many episodes more in every cell."""
    for name, arm in campaign.plan.cells:
        campaign.record(*trials(campaign, name, arm, count, failed))


def shown(register: ListRegister, key: SigningKey = ADA) -> TestPlan:
    """Register a plan and log enough for it."""
    campaign = opened(plan(), register, key)
    run(campaign, 150)
    return campaign.plan
