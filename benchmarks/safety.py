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
BRAKE_WITHIN_S = 0.1
TASKS = ("button-press-v1", "drawer-open-v1", "reach-v1", "door-close-v1", "push-v1")
STEPS_AFTER_BRAKE = 100
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

    def step(self, plant: MujocoPlant, request: object, asked_s: float, now: Measured) -> Measured:
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
    plant: MujocoPlant,
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
    episodes, steps = (1, 500) if bench.quick else (4, 3000)
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
    episodes = 2 if bench.quick else 30
    driver, nominal = Driver(ALL), make_plant()
    late = prompt_of_all = total = 0
    for mismatch in bench.track(OUTSIDE, "mismatch outside the declared range"):
        plant = make_plant(**mismatch)
        prompt, count, delays_s = 0, 0, []
        for make in MAKERS.values():
            for seed in range(4_000, 4_000 + episodes):
                brake_s, harm_s = onset(nominal, plant, driver, make(ORACLE, LIMITS, seed), seed)
                count += 1
                prompt += brake_s is not None and brake_s <= BRAKE_WITHIN_S
                delays_s += [] if brake_s is None else [brake_s]
                if harm_s is not None:
                    late += brake_s is None or brake_s > harm_s + BRAKE_WITHIN_S
        name = ", ".join(f"{key} {value:g}" for key, value in mismatch.items())
        seen = f"median {1e3 * float(np.median(delays_s)):.0f} ms" if delays_s else "never braked"
        add_prompt(bench, f"braked within 100 ms of onset, {name}", prompt, count, seen)
        prompt_of_all, total = prompt_of_all + prompt, total + count
    add_prompt(bench, "braked within 100 ms of onset, all of them", prompt_of_all, total)
    add_prompt(bench, "outside: no violation lasted 100 ms without the brake", total - late, total)


def add_prompt(bench: Benchmark, name: str, good: int, count: int, seen: str = "") -> None:
    bench.add(
        Measurement(
            metric=name,
            value=good / count,
            unit="share",
            interval=clopper_pearson(good, count),
            n=count,
            compared_with=seen,
            target=">= 0.99",
        )
    )


def onset(
    nominal: MujocoPlant, plant: MujocoPlant, driver: Driver, adversary: Adversary, seed: int
) -> tuple[float | None, float | None]:
    """Move for a while, then change the plant; return seconds to the brake and to a violation."""
    measured = nominal.reset(seed)
    driver.reset(measured)
    before = 300 + seed * 37 % 200
    measured = go_on(nominal, driver, adversary, Judge(nominal, LIMITS), measured, before)
    # A brake before there is a reason is a false alarm and no prompt answer.
    if driver.filter is None or driver.filter.latched is not None:
        raise RuntimeError(f"seed {seed}: the brake latched on the nominal arm")
    plant.load(nominal.save())
    judge = Judge(plant, LIMITS)
    judge.look()
    driver.reasons = Counter()
    go_on(plant, driver, adversary, judge, measured, 400)
    period_s = 1 / BODY.spec.rate_hz
    broken = np.any(list(judge.violations().values()), axis=0)
    until_brake = sum(
        count
        for reason, count in driver.reasons.items()
        if reason not in (Reason.BRAKED, Reason.RESIDUAL)
    )
    latched = driver.filter.latched is not None
    return (
        (until_brake + 1) * period_s if latched else None,
        (int(broken.argmax()) + 1) * period_s if broken.any() else None,
    )


def benign_arm(bench: Benchmark, plant: MujocoPlant) -> None:
    """Measure what the filter does to a policy that keeps the limits anyway."""
    episodes, steps = (2, 1000) if bench.quick else (30, 5000)
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
    episodes = 2 if bench.quick else 20
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
            "chosen on other seeds of the same arm. A delay shows only when a command changes."
        )
        bench.note("Simulation evidence; it is no conformity with any standard.")


if __name__ == "__main__":
    main()
