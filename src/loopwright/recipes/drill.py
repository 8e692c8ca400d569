"""A staged violation, from the flight to the regression scenario: to see that the machinery works.

A drill has keys and a register of its own, made anew in its folder: what is staged must never stand
among a site's real occurrences.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.core.stage import environment_digest
from loopwright.safety.blackbox import BlackBox, FlightHeader, StepRecord
from loopwright.safety.blackbox.header import NONE
from loopwright.safety.body import Body, Measured, Plant, RobotEntry
from loopwright.safety.keys import ROLES, Holder, KeyRing, Role, SigningKey
from loopwright.safety.ladder import Rungs
from loopwright.safety.ladder.geometry import Hazards
from loopwright.safety.limits import Limits
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.evidence import EvidenceStore
from loopwright.safety.occurrence.opening import (
    Site,
    make_scenario,
    open_occurrence,
    replay_exactly,
)
from loopwright.safety.occurrence.regression import run_regression
from loopwright.safety.register import Register
from loopwright.scenarios.arm7.plant import make_body, make_limits, make_plant, robot_entry

Cause = Literal["no-envelope", "heavy-load"]
"""``no-envelope``: a policy drives at walls and the filter only clamps. ``heavy-load``: 15 kg that
nobody declared, and no residual monitor."""

HOLD_STEPS = 10
"""A policy of 50 Hz, held at 500 Hz."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One part of a drill that is done."""

    name: str
    detail: str
    seconds: float
    """Of wall time."""
    holds: bool = True


def stage(
    folder: Path, *, cause: Cause = "no-envelope", seconds: float = 4.0, seed: int = 0
) -> Iterator[Step]:
    """Stage a violation of the simulated arm and do everything that follows from it.

    Args:
        folder: New or empty; gets keys, register, flight, evidence and suite.
        cause: What goes wrong.
        seconds: How long the flight takes, in simulation.
        seed: Fixes where the arm starts, and at which wall the policy drives.

    Yields:
        Each part, when it is done.
    """
    site = drill_site(folder)
    clock = _Clock()
    with site.register:
        configuration, entry = _configuration(cause)
        path, heads = folder / "flight", folder / "second-place"
        heads.mkdir()
        steps = fly(path, heads, site.key, configuration, entry, seconds=seconds, seed=seed)
        yield clock.step("flight", f"{steps} control steps, {cause}, recorded in {path}")
        opened = open_occurrence(path, site, now_s=time.time(), heads=heads)
        if opened is None:
            raise Unidentified("nothing happened in this flight; let it take longer")
        yield clock.step("opened", f"occurrence {opened.entry.number}: {opened.occurrence.what}")
        evidence = site.register.find(opened.occurrence.evidence)
        assert evidence is not None
        frozen = site.store.verify(evidence.statement)
        yield clock.step("frozen", f"{len(frozen)} files, read-only, signed, in {folder}/evidence")
        flown = replay_exactly(opened)
        yield clock.step("replayed", f"{flown.steps} steps, bit by bit", holds=flown.exact)
        scenario = make_scenario(opened, site)
        short = scenario.shortest
        detail = (
            f"{scenario.regression.event_after} steps and {len(short.script)} requests of "
            f"{steps} steps, {short.runs} runs: {scenario.file}"
        )
        yield clock.step("scenario", detail)
        report = run_regression(scenario.file)
        detail = f"happens again bit by bit; with every rung: {report.mended}"
        yield clock.step("checked", detail, holds=report.holds and report.exact)


def drill_site(folder: Path) -> Site:
    """Make keys, key ring and register of a drill in a new or empty folder.

    Raises:
        InvalidConfig: There is something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidConfig(f"{folder} is not empty; a drill begins in a folder of its own")
    keys = folder / "keys"
    keys.mkdir(parents=True)
    made: dict[Role, SigningKey] = {role: SigningKey.new() for role in ROLES}
    for role, key in made.items():
        key.write(keys / f"{role}.key")
    ring = KeyRing(
        Holder(person=f"drill {role}", public=key.public, roles=frozenset({role}))
        for role, key in made.items()
    )
    ring.write(keys / "ring.json")
    return Site(
        register=Register.create(folder / "register", ring, made["authority"]),
        store=EvidenceStore(folder=folder / "evidence"),
        suite=folder / "suite",
        key=made["recorder"],
    )


def fly(
    path: Path,
    heads: Path,
    key: SigningKey,
    configuration: Configuration,
    entry: RobotEntry,
    *,
    seconds: float,
    seed: int,
) -> int:
    """Let a policy drive at the arm's hazards, and record it; return the number of steps.

    Args:
        path: Of the recording.
        heads: Its second place.
        key: Of the recorder.
        configuration: Of the filter.
        entry: How the plant is made.
        seconds: How long, in simulation.
        seed: Fixes the start, and where it drives.
    """
    body, plant = make_body(), make_plant(**entry.config)  # type: ignore[arg-type]
    header = FlightHeader(
        robot_id="drill arm",
        robot=entry,
        body=plant.spec,
        candidate=digest_json("hazard seeker of the drill"),
        certificate=NONE,
        filter=configuration.make_filter(body).digest,
        limits=configuration.limits.to_json(),
        instruction="drill: drive at walls",
        build=environment_digest(),
    )
    steps = round(seconds * body.spec.rate_hz)
    with closing(plant), BlackBox(path, header, key, heads) as box:
        _loop(
            box, body, plant, configuration, HazardSeeker(body, configuration.limits, seed), steps
        )
    return steps


def _loop(
    box: BlackBox,
    body: Body,
    plant: Plant,
    configuration: Configuration,
    policy: HazardSeeker,
    steps: int,
) -> None:
    safety_filter, every = configuration.make_filter(body), round(body.spec.rate_hz)
    measured = plant.reset(policy.seed)
    safety_filter.reset(measured)
    request, asked_s = policy.request(measured), measured.time_s
    for step in range(steps):
        if step % HOLD_STEPS == 0:
            request, asked_s = policy.request(measured), measured.time_s
        if step % every == 0:
            box.snapshot(plant.save(), step)
        decision = safety_filter.step(request, asked_s, measured)
        box.step(
            StepRecord(
                sequence=step,
                monotonic_s=measured.time_s,
                requested=request,
                request_age_s=measured.time_s - asked_s,
                position=measured.position,
                speed=measured.speed,
                sensor_age_s=0.0,
                applied=decision.applied,
                reason=decision.reason,
                margin=decision.margin,
                stopping=decision.stopping,
            )
        )
        measured = plant.stop() if decision.stopping else plant.step(decision.applied)


class HazardSeeker:
    """Drives the tool at a wall, slowly and not quite straight: only the wall is at risk."""

    SPEED_M_S, JITTER_RAD_S, DAMPING = 0.15, 0.02, 1e-3

    def __init__(self, body: Body, limits: Limits, seed: int) -> None:
        """Choose a wall."""
        self.seed, self._body = seed, body
        self._random = np.random.default_rng(seed)
        self._hazards = Hazards(limits, len(body.spec.points))
        self._wall = int(self._random.integers(len(limits.walls)))

    def request(self, measured: Measured) -> np.ndarray:
        """Return the speeds ``(N,)`` that lead there."""
        places = self._body.place(measured.position)
        self._hazards.look(places.position_m)
        jacobian = places.jacobian[-1]
        velocity = self.SPEED_M_S * self._hazards.towards[-1, self._wall]
        damped = jacobian @ jacobian.T + self.DAMPING * np.eye(3)
        jitter = self._random.uniform(-self.JITTER_RAD_S, self.JITTER_RAD_S, self._body.spec.size)
        return jacobian.T @ np.linalg.solve(damped, velocity) + jitter


class _Clock:
    """Says how long each part took."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def step(self, name: str, detail: str, *, holds: bool = True) -> Step:
        now_s = time.monotonic()
        passed_s, self._last_s = now_s - self._last_s, now_s
        return Step(name=name, detail=detail, seconds=passed_s, holds=holds)


def _configuration(cause: Cause) -> tuple[Configuration, RobotEntry]:
    limits = make_limits()
    if cause == "heavy-load":
        return Configuration(limits=limits, rungs=Rungs(residual=False)), robot_entry(
            payload_kg=15.0
        )
    rungs = Rungs(envelope=False, slew=False, look_ahead=False, residual=False)
    return Configuration(limits=limits, rungs=rungs), robot_entry()
