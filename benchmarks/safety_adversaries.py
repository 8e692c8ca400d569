"""Policies that try to break the arm's limits, and one that does not.

Each is asked 50 times a second and its answer held, as a learned policy's would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from loopwright.safety.body import Measured
from loopwright.safety.ladder.geometry import Hazards
from loopwright.safety.limits import Limits
from loopwright.simulation.mujoco_body import MujocoBody

HOLD_STEPS = 10
"""Control steps of 2 ms for which a request is held."""


class Adversary(Protocol):
    """Asks for something, knowing the true state."""

    def request(self, measured: Measured) -> object: ...


class Uniform:
    """Other speeds at every request, up to one and a half times what may be commanded."""

    def __init__(self, body: MujocoBody, limits: Limits, seed: int) -> None:
        self._random, self._top = np.random.default_rng(seed), np.array(limits.speed)

    def request(self, measured: Measured) -> object:
        return self._random.uniform(-1.5, 1.5, len(self._top)) * self._top


class BangBang:
    """Full speed one way or the other in every joint, held for 0.1 to 1 s."""

    def __init__(self, body: MujocoBody, limits: Limits, seed: int) -> None:
        self._random, self._top = np.random.default_rng(seed), np.array(limits.speed)
        self._left, self._wish = 0, self._top

    def request(self, measured: Measured) -> object:
        if self._left == 0:
            self._left = int(self._random.integers(5, 50))
            self._wish = self._top * self._random.choice([-1.0, 1.0], len(self._top))
        self._left -= 1
        return self._wish


class HazardSeeker:
    """Drives a watched point at a hazard as fast as the joints allow, then at another."""

    def __init__(self, body: MujocoBody, limits: Limits, seed: int) -> None:
        self._random, self._top = np.random.default_rng(seed), np.array(limits.speed)
        self._body, self._hazards = body, Hazards(limits, len(body.spec.points))
        self._left, self._point, self._hazard = 0, 0, 0

    def request(self, measured: Measured) -> object:
        if self._left == 0:
            self._left = int(self._random.integers(25, 150))
            self._point = int(self._random.integers(len(self._body.spec.points)))
            self._hazard = int(self._random.integers(self._hazards.count))
        self._left -= 1
        places = self._body.place(measured.position)
        self._hazards.look(places.position_m)
        way = self._hazards.towards[self._point, self._hazard] @ places.jacobian[self._point]
        return self._top * np.sign(way)


class Malformed(BangBang):
    """Bang-bang, with every third request no request at all."""

    def request(self, measured: Measured) -> object:
        wish = np.array(super().request(measured))
        if self._random.random() > 1 / 3:
            return wish
        one = int(self._random.integers(len(wish)))
        spoiled = wish.copy()
        spoiled[one] = self._random.choice([np.nan, np.inf, -np.inf, 1e30, -1e30])
        choices = (spoiled, wish[:-1], wish[None], None, "stop", wish.tolist(), wish * 1e300)
        return choices[int(self._random.integers(len(choices)))]


class Sequence:
    """A fixed sequence of requests, each held for the same time."""

    def __init__(self, requests: np.ndarray, asks_each: int) -> None:
        self._requests, self._asks_each, self._asked = requests, asks_each, 0

    def request(self, measured: Measured) -> object:
        index = min(self._asked // self._asks_each, len(self._requests) - 1)
        self._asked += 1
        return self._requests[index]


class Waypoints:
    """A benign policy: the tool goes from place to place at 0.15 m/s, gently, clear of hazards."""

    SPEED_M_S = 0.15
    ACCELERATION_M_S2 = 0.4
    WITHIN_M = 0.02

    def __init__(self, body: MujocoBody, limits: Limits, seed: int) -> None:
        self._random, self._body = np.random.default_rng(seed), body
        self._hazards = Hazards(limits, 1)
        self._velocity = np.zeros(3)
        self._centre: np.ndarray | None = None
        self._goal = np.zeros(3)
        self.reached = 0

    def request(self, measured: Measured) -> object:
        places = self._body.place(measured.position)
        tool_m = places.position_m[-1]
        if self._centre is None:
            self._centre = tool_m.copy()
            self._goal = self._draw()
        apart = self._goal - tool_m
        distance = float(np.linalg.norm(apart))
        if distance < self.WITHIN_M:
            self.reached += 1
            self._goal = self._draw()
        speed = min(self.SPEED_M_S, 2.0 * distance)
        change = apart / max(distance, 1e-9) * speed - self._velocity
        most = self.ACCELERATION_M_S2 * HOLD_STEPS * 0.002
        self._velocity += change * min(1.0, most / max(float(np.linalg.norm(change)), 1e-9))
        jacobian = places.jacobian[-1]
        damped = jacobian @ jacobian.T + 1e-3 * np.eye(3)
        return jacobian.T @ np.linalg.solve(damped, self._velocity)

    def _draw(self) -> np.ndarray:
        assert self._centre is not None
        while True:
            goal = self._centre + self._random.uniform(-0.15, 0.15, 3)
            self._hazards.look(goal[None])
            if self._hazards.distance_m.min() > 0.08:
                return goal


MAKERS: dict[str, Callable[[MujocoBody, Limits, int], Adversary]] = {
    "uniform random": Uniform,
    "held bang-bang": BangBang,
    "hazard seeker": HazardSeeker,
    "malformed": Malformed,
}


class Search:
    """CMA-ES with a diagonal covariance (Ros & Hansen 2008), to be asked and told."""

    def __init__(self, size: int, seed: int, *, sigma: float = 0.5) -> None:
        self._random = np.random.default_rng(seed)
        self._mean, self._variance, self._sigma = np.zeros(size), np.ones(size), sigma
        self.population = 4 + int(3 * np.log(size))
        half = self.population // 2
        weights = np.log(half + 0.5) - np.log(np.arange(1, half + 1))
        self._weights = weights / weights.sum()
        effective = 1 / (self._weights**2).sum()
        self._c_sigma = (effective + 2) / (size + effective + 5)
        self._damping = 1 + self._c_sigma
        self._c_path = 4 / (size + 4)
        faster = (size + 2) / 3  # Learning only a diagonal needs fewer samples.
        self._c_one = faster * 2 / ((size + 1.3) ** 2 + effective)
        self._c_mu = min(
            1 - self._c_one,
            faster * 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective),
        )
        self._effective, self._expected = effective, np.sqrt(size) * (1 - 1 / (4 * size))
        self._path, self._sigma_path = np.zeros(size), np.zeros(size)

    def ask(self) -> np.ndarray:
        """Return a population of samples, one a row."""
        self._steps = self._random.standard_normal((self.population, len(self._mean)))
        return self._mean + self._sigma * np.sqrt(self._variance) * self._steps

    def tell(self, badness: np.ndarray) -> None:
        """Learn from how good each sample was; smaller is better."""
        best = self._steps[np.argsort(badness)[: len(self._weights)]]
        step = self._weights @ best
        spread = np.sqrt(self._variance)
        self._mean = self._mean + self._sigma * spread * step
        keep = 1 - self._c_sigma
        self._sigma_path = keep * self._sigma_path + np.sqrt((1 - keep**2) * self._effective) * step
        keep = 1 - self._c_path
        self._path = keep * self._path + np.sqrt((1 - keep**2) * self._effective) * spread * step
        rank_mu = self._variance * (self._weights @ best**2)
        self._variance = (
            (1 - self._c_one - self._c_mu) * self._variance
            + self._c_one * self._path**2
            + self._c_mu * rank_mu
        )
        length = float(np.linalg.norm(self._sigma_path))
        self._sigma *= float(np.exp(self._c_sigma / self._damping * (length / self._expected - 1)))
