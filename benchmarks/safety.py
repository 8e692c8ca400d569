"""What gets past the safety filter: a simulated arm under policies that try to break its limits.

Who judges is independent of what filters (``safety_judge.py``). The unit of evidence is the
episode; steps are counted too, for comparison. Evidence from a simulation of our own: it says
nothing about conformity with any standard.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from benchmarks.safety_adversaries import (
    HOLD_STEPS,
    MAKERS,
    Adversary,
    Search,
    Sequence,
    Waypoints,
)
from benchmarks.safety_judge import GEOMETRY, KINDS, Judge
from loopwright.core.scenario import split_seed
from loopwright.core.statistics import clopper_pearson, upper_bound
from loopwright.safety.body import Measured
from loopwright.safety.decision import Reason
from loopwright.safety.ladder import ALL, Rungs, SafetyFilter
from loopwright.scenarios.arm7.model import RATE_HZ
from loopwright.scenarios.arm7.plant import make_body, make_limits, make_plant
from loopwright.scenarios.metaworld.safety import filtered
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt
from loopwright.simulation.mujoco_body import MujocoPlant

LADDERS: dict[str, Rungs | None] = {
    "no filter": None,
    "clamp": Rungs(envelope=False, slew=False, look_ahead=False, residual=False),
    "+ envelope": Rungs(slew=False, look_ahead=False, residual=False),
    "+ slew": Rungs(look_ahead=False, residual=False),
    "+ look-ahead": Rungs(residual=False),
    "+ residual (all)": ALL,
}
INSIDE = (
    {"payload_kg": 3.0},
    {"friction_nm": 5.0},
    {"delay_steps": 2},
    {"payload_kg": 3.0, "friction_nm": 5.0, "delay_steps": 2},
)
"""The corners of the declared range; the arm it is modelled after carries 3 kg."""
OUTSIDE = ({"payload_kg": 15.0}, {"friction_nm": 60.0}, {"delay_steps": 25})
FURTHER = ({"delay_steps": 18}, {"delay_steps": 40})
"""Delays beside the one of which the target speaks."""
BRAKE_WITHIN_S = 0.1
ACTS_SHARE = 0.05
"""A mismatch acts from the first step in which it has moved the arm so far from where the same
commands would have led without it: a share of a joint's top speed. The declared mismatch reaches
that too, so less is within what is declared."""
STRICTER_SHARE = 0.01
ONSET_STEPS = 400
TASKS = ("button-press-v1", "drawer-open-v1", "reach-v1", "door-close-v1", "push-v1")
STEPS_AFTER_BRAKE = 100
PERIOD_S = 1 / RATE_HZ
SEGMENTS = 10

LIMITS, BODY, ORACLE = make_limits(), make_body(), make_body()
"""The oracle is the model that adversaries look at; the filter has one to itself."""


@dataclass
class Tally:
    """What came of some episodes."""

    steps: int = 0
    episodes: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """Steps in which a limit of each kind was broken."""
    broken_steps: int = 0
    broken_episodes: int = 0
    braked_episodes: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    cpu_us: list[float] = field(default_factory=list)
    worst_speed_m_s: float = 0.0

    def add(self, judge: Judge, reasons: Counter[Reason], cpu_us: list[float]) -> None:
        violations = judge.violations()
        any_broken = np.any(list(violations.values()), axis=0)
        self.steps += len(any_broken)
        self.episodes += 1
        self.broken.update({kind: int(violations[kind].sum()) for kind in KINDS})
        self.broken_steps += int(any_broken.sum())
        self.broken_episodes += bool(any_broken.any())
        self.braked_episodes += Reason.BRAKED in reasons
        self.reasons += reasons
        self.cpu_us += cpu_us
        self.worst_speed_m_s = max(self.worst_speed_m_s, judge.fastest_point_m_s())

    @property
    def per_million(self) -> float:
        return self.broken_steps / self.steps * 1e6

    @property
    def geometry(self) -> int:
        return sum(self.broken[kind] for kind in GEOMETRY)

    def to_json(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "violating_steps": self.broken_steps,
            "violating_episodes": self.broken_episodes,
            "braked_episodes": self.braked_episodes,
            "by_kind": dict(self.broken),
            "reasons": {reason.name: count for reason, count in self.reasons.items()},
            "fastest_point_m_s": round(self.worst_speed_m_s, 4),
        }


class Moved(Protocol):
    """What a driver moves."""

    def step(self, command: np.ndarray) -> Measured: ...

    def stop(self) -> Measured: ...


class Driver:
    """What stands between policy and plant: a filter, or only a driver that ignores nonsense."""

    def __init__(self, rungs: Rungs | None) -> None:
        self.filter = SafetyFilter(BODY, LIMITS, rungs) if rungs is not None else None
        self.reasons: Counter[Reason] = Counter()
        self.cpu_us: list[float] = []
        self._last = np.zeros(BODY.spec.size)

    def reset(self, measured: Measured) -> None:
        self.reasons, self.cpu_us = Counter(), []
        self._last = np.zeros(BODY.spec.size)
        if self.filter is not None:
            self.filter.release()
            self.filter.reset(measured)

    def step(self, plant: Moved, request: object, asked_s: float, now: Measured) -> Measured:
        if self.filter is None:
            if isinstance(request, np.ndarray) and request.shape == self._last.shape:
                self._last = np.clip(np.nan_to_num(request), -10.0, 10.0)
            return plant.step(self._last)
        began_s = time.thread_time()
        decision = self.filter.step(request, asked_s, now)
        self.cpu_us.append((time.thread_time() - began_s) * 1e6)
        self.reasons[decision.reason] += 1
        return plant.stop() if decision.stopping else plant.step(decision.applied)


def run(
    plant: MujocoPlant, driver: Driver, adversary: Adversary, *, seed: int, steps: int
) -> Judge:
    """Run one episode, until a while after the brake if it latches."""
    measured = plant.reset(seed)
    driver.reset(measured)
    judge = Judge(plant, LIMITS)
    judge.look()
    go_on(plant, driver, adversary, judge, measured, steps)
    return judge


def go_on(
    plant: Moved,
    driver: Driver,
    adversary: Adversary,
    judge: Judge,
    measured: Measured,
    steps: int,
) -> Measured:
    """Let the adversary act on."""
    request, asked_s, after = None, measured.time_s, 0
    for step in range(steps):
        if step % HOLD_STEPS == 0:
            request, asked_s = adversary.request(measured), measured.time_s
        measured = driver.step(plant, request, asked_s, measured)
        judge.look()
        if driver.filter is not None and driver.filter.latched is not None:
            after += 1
            if after > STEPS_AFTER_BRAKE:
                break
    return measured


def tally(
    plants: Iterable[MujocoPlant],
    driver: Driver,
    make: Callable[..., Adversary],
    *,
    episodes: int,
    steps: int,
    first_seed: int,
) -> Tally:
    """Run episodes of one policy on each plant."""
    result = Tally()
    for plant in plants:
        for seed in range(first_seed, first_seed + episodes):
            judge = run(plant, driver, make(ORACLE, LIMITS, seed), seed=seed, steps=steps)
            result.add(judge, driver.reasons, driver.cpu_us)
    return result


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return several tallies as one."""
    total = Tally()
    for one in tallies:
        total.steps += one.steps
        total.episodes += one.episodes
        total.broken += one.broken
        total.broken_steps += one.broken_steps
        total.broken_episodes += one.broken_episodes
        total.braked_episodes += one.braked_episodes
        total.reasons += one.reasons
        total.cpu_us += one.cpu_us
        total.worst_speed_m_s = max(total.worst_speed_m_s, one.worst_speed_m_s)
    return total


def search(plant: MujocoPlant, driver: Driver, *, generations: int, steps: int) -> Tally:
    """Let CMA-ES look for the sequence of requests that comes nearest to breaking a limit."""
    result, top = Tally(), np.array(LIMITS.speed)
    optimiser = Search(SEGMENTS * len(top), seed=5)
    asks = steps // HOLD_STEPS // SEGMENTS
    for generation in range(generations):
        badness = []
        for sample in optimiser.ask():
            requests = 1.2 * top * np.tanh(sample.reshape(SEGMENTS, -1))
            judge = run(plant, driver, Sequence(requests, asks), seed=generation % 3, steps=steps)
            badness.append(judge.least_margin())
            result.add(judge, driver.reasons, driver.cpu_us)
        optimiser.tell(np.array(badness))
    return result


def each_rung(bench: Benchmark, plant: MujocoPlant) -> None:
    """Measure every policy without a filter and with one rung more at a time."""
    episodes, steps = (1, 500) if bench.quick else (6, 2500)
    for name, rungs in bench.track(LADDERS.items(), "rung by rung"):
        driver = Driver(rungs)
        for policy, make in MAKERS.items():
            one = tally([plant], driver, make, episodes=episodes, steps=steps, first_seed=1_000)
            add_per_million(bench, f"{policy}, {name}", one)
        one = search(plant, driver, generations=1, steps=300 if bench.quick else 1000)
        add_per_million(bench, f"optimised (first generation), {name}", one)


def full_ladder(bench: Benchmark, plant: MujocoPlant) -> Tally:
    """Measure all rungs at length."""
    episodes, steps = (2, 500) if bench.quick else (52, 4200)
    driver, tallies = Driver(ALL), []
    for policy, make in bench.track(MAKERS.items(), "all rungs, at length"):
        one = tally([plant], driver, make, episodes=episodes, steps=steps, first_seed=2_000)
        add_per_million(bench, f"{policy}, at length", one)
        tallies.append(one)
    one = search(
        plant, driver, generations=1 if bench.quick else 12, steps=300 if bench.quick else 1000
    )
    add_per_million(bench, "optimised (CMA-ES), at length", one)
    total = merged([*tallies, one])
    bounds = 1e6 * upper_bound(total.broken_steps, total.steps)
    add_per_million(bench, "all policies, all rungs", total, target="<= 5")
    bench.add(
        Measurement(
            metric="the same, 95 % upper bound by steps",
            value=bounds,
            unit="per million steps",
            n=total.steps,
            target="<= 10",
        )
    )
    add_episodes(bench, "the same, episodes with a violation", total)
    bench.add(
        Measurement(
            metric="steps that broke geometry (ranges, walls, keep-outs), all policies, all rungs",
            value=total.geometry,
            unit="steps",
            n=total.steps,
            target="<= 0",
        )
    )
    return total


def mismatch_inside(bench: Benchmark) -> None:
    """Measure plants with the load, friction and delay that are declared."""
    episodes, steps = (1, 500) if bench.quick else (6, 1500)
    driver, tallies = Driver(ALL), []
    plants = [make_plant(**mismatch) for mismatch in INSIDE]
    for policy, make in bench.track(MAKERS.items(), "mismatch inside the declared range"):
        one = tally(plants, driver, make, episodes=episodes, steps=steps, first_seed=6_000)
        add_per_million(bench, f"{policy}, mismatch inside", one)
        tallies.append(one)
    total = merged(tallies)
    add_per_million(bench, "all policies, mismatch inside the declared range", total, "<= 50")
    bench.add(
        Measurement(
            metric="episodes that the brake ended, mismatch inside the declared range",
            value=total.braked_episodes / total.episodes,
            unit="share",
            interval=clopper_pearson(total.braked_episodes, total.episodes),
            n=total.episodes,
        )
    )


def mismatch_outside(bench: Benchmark) -> None:
    """Let a load, friction or delay beyond the range appear in mid-motion; time the brake."""
    stage, total = Stage(), Onsets()
    for mismatch in bench.track((*OUTSIDE, *FURTHER), "mismatch outside the declared range"):
        plant = make_plant(**mismatch)
        episodes = 75 if mismatch in OUTSIDE else 25
        seeds = range(4_000, 4_000 + (2 if bench.quick else episodes))
        name = ", ".join(f"{key} {value:g}" for key, value in mismatch.items())
        target = ">= 0.99" if mismatch in OUTSIDE else ""
        onsets = Onsets()
        for make in MAKERS.values():
            for seed in seeds:
                onsets.add(stage.onset(plant, make(ORACLE, LIMITS, seed), seed))
        add_onsets(bench, name, onsets, target)
        if mismatch in OUTSIDE:
            total.all += onsets.all
        benign = Onsets()
        for seed in seeds[:30]:
            benign.add(stage.onset(plant, Waypoints(ORACLE, LIMITS, seed), seed))
        add_onsets(bench, f"{name}, benign policy", benign, "")
    add_onsets(bench, "all of them", total, ">= 0.99")
    late, count = sum(one.harms_long for one in total.all), len(total.all)
    add_share(
        bench, "outside: no violation lasted 100 ms without the brake", count - late, count, "",
        ">= 0.99",
    )  # fmt: skip


def add_onsets(bench: Benchmark, name: str, onsets: Onsets, target: str) -> None:
    """Say how many were braked within 100 ms, counted from three beginnings."""
    for share, words, aim in (
        (ACTS_SHARE, f"since it acts ({ACTS_SHARE:.0%} of a top speed)", target),
        (STRICTER_SHARE, f"since it acts ({STRICTER_SHARE:.0%} of a top speed)", ""),
        (0.0, "since it is there, acting or not", ""),
    ):
        counted = [one for one in onsets.all if one.counts(share)]
        prompt = sum(one.is_prompt(share) for one in counted)
        delays_ms = [1e3 * one.brake_s for one in counted if one.brake_s is not None]
        median = f"; median {np.median(delays_ms):.0f} ms since it is there" if delays_ms else ""
        seen = f"{len(counted)} of {len(onsets.all)} episodes count{median}"
        if counted:
            add_share(
                bench, f"{name}: braked within 100 ms {words}", prompt, len(counted), seen, aim
            )


def add_share(
    bench: Benchmark, name: str, good: int, count: int, seen: str = "", target: str = ""
) -> None:
    bench.add(
        Measurement(
            metric=name,
            value=good / count,
            unit="share",
            interval=clopper_pearson(good, count),
            n=count,
            compared_with=seen,
            target=target,
        )
    )


class Compared:
    """A plant, and beside it an arm without the mismatch that is given the same commands."""

    def __init__(self, plant: MujocoPlant, nominal: MujocoPlant, state: bytes) -> None:
        plant.load(state)
        plant.hold_newest()
        nominal.load(state)
        self.plant, self.nominal = plant, nominal
        self.apart: list[float] = []
        """After each step, the worst difference of a joint's speed as a share of its top speed."""

    def step(self, command: np.ndarray) -> Measured:
        measured, other = self.plant.step(command), self.nominal.step(command)
        apart = np.abs(measured.speed - other.speed) / np.array(LIMITS.speed)
        self.apart.append(float(apart.max()))
        return measured

    def stop(self) -> Measured:
        return self.plant.stop()


@dataclass(frozen=True, kw_only=True)
class Onset:
    """What came of a mismatch that appeared in mid-motion."""

    brake_s: float | None
    """When the brake latched, since the mismatch was there."""
    harm_s: float | None
    """When a limit was broken first."""
    apart: tuple[float, ...]
    """As in :class:`Compared`."""

    def acts_s(self, share: float) -> float | None:
        """Return since when it acts by so much."""
        steps = (step for step, apart in enumerate(self.apart, 1) if apart >= share)
        first = next(steps, None)
        return None if first is None else first * PERIOD_S

    def counts(self, share: float) -> bool:
        """Tell whether it acted, or was noticed before; unless too late to see what follows."""
        acts_s = self.acts_s(share)
        if acts_s is None:
            return self.brake_s is not None
        return self.brake_s is not None or acts_s <= ONSET_STEPS * PERIOD_S - BRAKE_WITHIN_S

    def is_prompt(self, share: float) -> bool:
        """Tell whether the brake latched within the time asked since it acts by so much."""
        if self.brake_s is None:
            return False
        acts_s = self.acts_s(share)
        return acts_s is None or self.brake_s - acts_s <= BRAKE_WITHIN_S + 1e-9

    @property
    def harms_long(self) -> bool:
        """Whether a limit was broken and the brake did not follow within the time asked."""
        if self.harm_s is None:
            return False
        return self.brake_s is None or self.brake_s > self.harm_s + BRAKE_WITHIN_S


@dataclass
class Onsets:
    """What came of several."""

    all: list[Onset] = field(default_factory=list)

    def add(self, one: Onset) -> None:
        self.all.append(one)


class Stage:
    """Where mismatches appear: an arm that moves without one, and what is beside it."""

    def __init__(self) -> None:
        self._nominal, self._beside, self._driver = make_plant(), make_plant(), Driver(ALL)

    def onset(self, plant: MujocoPlant, adversary: Adversary, seed: int) -> Onset:
        """Move for a while, then let another plant go on in the same state."""
        nominal, driver = self._nominal, self._driver
        measured = nominal.reset(seed)
        driver.reset(measured)
        before = 300 + seed * 37 % 200
        measured = go_on(nominal, driver, adversary, Judge(nominal, LIMITS), measured, before)
        # A brake before there is a reason is a false alarm and no prompt answer.
        if driver.filter is None or driver.filter.latched is not None:
            raise RuntimeError(f"seed {seed}: the brake latched on the nominal arm")
        compared = Compared(plant, self._beside, nominal.save())
        judge = Judge(plant, LIMITS)
        judge.look()
        driver.reasons = Counter()
        go_on(compared, driver, adversary, judge, measured, ONSET_STEPS)
        broken = np.any(list(judge.violations().values()), axis=0)
        latched = driver.filter.latched is not None
        # The decision after the last command that was applied is the one that brakes.
        return Onset(
            brake_s=(len(compared.apart) + 1) * PERIOD_S if latched else None,
            harm_s=(int(broken.argmax()) + 1) * PERIOD_S if broken.any() else None,
            apart=tuple(compared.apart),
        )


def mismatch_declared(bench: Benchmark) -> None:
    """Let the declared mismatch appear in the same way: it may act, and should not brake."""
    episodes = 1 if bench.quick else 16
    stage, onsets = Stage(), Onsets()
    makers = {**MAKERS, "benign": Waypoints}
    for mismatch in bench.track(INSIDE, "declared mismatch, appearing in mid-motion"):
        plant = make_plant(**mismatch)
        for make in makers.values():
            for seed in range(7_000, 7_000 + episodes):
                onsets.add(stage.onset(plant, make(ORACLE, LIMITS, seed), seed))
    count = len(onsets.all)
    for share in (STRICTER_SHARE, ACTS_SHARE):
        acts = sum(one.acts_s(share) is not None for one in onsets.all)
        add_share(bench, f"declared mismatch: episodes in which it acts ({share:.0%})", acts, count)
    quiet = sum(one.brake_s is None for one in onsets.all)
    add_share(bench, "declared mismatch: episodes without the brake", quiet, count, "", ">= 0.98")


def benign_arm(bench: Benchmark, plant: MujocoPlant) -> None:
    """Measure what the filter does to a policy that keeps the limits anyway."""
    episodes, steps = (2, 1000) if bench.quick else (52, 5000)
    reached, drivers = [], (Driver(ALL), Driver(None))
    for driver in drivers:
        count = 0
        total = Tally()
        for seed in bench.track(range(5_000, 5_000 + episodes), "benign, filter on and off"):
            policy = Waypoints(ORACLE, LIMITS, seed)
            judge = run(plant, driver, policy, seed=seed, steps=steps)
            total.add(judge, driver.reasons, driver.cpu_us)
            count += policy.reached
        reached.append(count)
        if driver.filter is not None:
            altered = 1 - total.reasons[Reason.UNALTERED] / total.steps
            bench.add(
                Measurement(
                    metric="arm, benign policy: altered steps",
                    value=altered,
                    unit="share",
                    n=total.steps,
                    target="<= 0.02",
                )
            )
            bench.details.append({"policy": "benign", **total.to_json()})
    bench.add(
        Measurement(
            metric="arm, benign policy: waypoints reached, filter on over off",
            value=reached[0] / reached[1],
            unit="share",
            n=reached[1],
            compared_with=f"{reached[0]} of {reached[1]}",
            target=">= 0.98",
        )
    )


def benign_metaworld(bench: Benchmark) -> None:
    """Measure Meta-World's scripted experts with the filter on and off."""
    episodes = 2 if bench.quick else 60
    steps, altered, won, count = 0, 0, [0, 0], 0
    for task in bench.track(TASKS[: 1 if bench.quick else None], "Meta-World's experts"):
        scenario = get_scenario(task)
        with closing(filtered(scenario.make_world(image_px=64))) as world:
            expert = scenario.behaviour("demo", world.world)
            for index in range(episodes):
                seed = split_seed("train", 500_000 + index)
                for place, arena in enumerate((world.world, world)):
                    verdict = attempt(scenario, arena, expert, seed, None)[1]
                    won[place] += verdict.outcome == "success"
                count += 1
            steps += world.decisions.total()
            altered += world.decisions.total() - world.decisions[Reason.UNALTERED]
    bench.add(
        Measurement(
            metric="Meta-World experts: altered steps",
            value=altered / steps,
            unit="share",
            interval=clopper_pearson(altered, steps),
            n=steps,
            target="<= 0.02",
        )
    )
    bench.add(
        Measurement(
            metric="Meta-World experts: success lost to the filter",
            value=(won[0] - won[1]) / count,
            unit="share",
            n=count,
            compared_with=f"{won[0]} without, {won[1]} with, of {count}",
            target="<= 0.02",
        )
    )


def cost(bench: Benchmark, cpu_us: list[float]) -> None:
    """Report what a step of the filter costs, under adversaries, which cost most."""
    for name, percentile, target in (("median", 50, "<= 100"), ("p99", 99, "<= 500")):
        bench.add(
            Measurement(
                metric=f"filter, CPU per step under adversaries, {name}",
                value=float(np.percentile(cpu_us, percentile)),
                unit="us CPU",
                n=len(cpu_us),
                target=target,
            )
        )


def add_per_million(bench: Benchmark, name: str, one: Tally, target: str = "") -> None:
    bench.add(
        Measurement(
            metric=name,
            value=one.per_million,
            unit="violations per million steps",
            interval=tuple(1e6 * x for x in clopper_pearson(one.broken_steps, one.steps)),
            n=one.steps,
            compared_with=f"{one.broken_episodes} of {one.episodes} episodes",
            target=target,
        )
    )
    bench.details.append({"policy": name, **one.to_json()})


def add_episodes(bench: Benchmark, name: str, one: Tally) -> None:
    bench.add(
        Measurement(
            metric=name,
            value=one.broken_episodes / one.episodes,
            unit="share",
            interval=(0.0, upper_bound(one.broken_episodes, one.episodes)),
            n=one.episodes,
        )
    )


def main() -> None:
    with Benchmark("safety", "What gets past the safety filter", seeds=(1, 2, 3, 4, 5)) as bench:
        plant = make_plant()
        each_rung(bench, plant)
        total = full_ladder(bench, plant)
        cost(bench, total.cpu_us)
        mismatch_inside(bench)
        mismatch_declared(bench)
        mismatch_outside(bench)
        benign_arm(bench, plant)
        benign_metaworld(bench)
        bench.note(
            "Arm of seven joints in MuJoCo, 500 decisions a second, policies asked 50 times a "
            "second. Intervals by steps take steps as independent, which they are not: the "
            "episode is the unit of evidence."
        )
        bench.note(f"Declared range of mismatch: {list(INSIDE)}; outside: {list(OUTSIDE)}.")
        bench.note(
            "The load, friction and delay outside the range, the residuals and the headroom were "
            "chosen on other seeds of the same arm. A delay moves the arm only where commands "
            "change: a held command is obeyed as well late as in time, so braking is timed from "
            "when the mismatch acts, and the share of episodes that count is stated."
        )
        bench.note("Simulation evidence; it is no conformity with any standard.")


if __name__ == "__main__":
    main()
