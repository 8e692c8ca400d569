"""Eyes and touch: what robots and cameras of the warehouse see, with their errors.

The simulation knows where everything is; a sensor sees only what is near to it, and not exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from loopwright.robot.sighting import Sighting
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.driver import WarehouseDriver
from loopwright.simulation.warehouse.layout import MOBILE
from loopwright.simulation.warehouse.model import arms_of
from loopwright.simulation.warehouse.state import Scene, State

EYE_SIGMA_M = 0.003
CAMERA_SIGMA_M = 0.006
BASE_SIGMA_M = 0.004
EYE_REACH_M = 1.4
"""A robot sees objects and other robots so far around its middle."""
IN_HAND_M = 0.05


class Eyes:
    """The senses of one robot."""

    def __init__(
        self,
        robot: str,
        driver: WarehouseDriver,
        scene: Callable[[], Scene | None],
        state: Callable[[], State | None],
        *,
        seed: int = 0,
    ) -> None:
        """Join what they read.

        Args:
            robot: Whose they are.
            driver: Knows where its hands are.
            scene: Where everything truly is.
            state: What the robot's own sensors say.
            seed: Of the errors.
        """
        self._robot, self._driver = robot, driver
        self._scene, self._state = scene, state
        self._noise = np.random.default_rng(seed)

    def look(self) -> tuple[Sighting, ...]:
        """Return what is seen and felt now; nothing while the world does not run."""
        scene, state = self._scene(), self._state()
        if scene is None or state is None:
            return ()
        now_s, robot = time.time(), self._robot
        middle_m = _middle(robot, scene)
        seen = [
            _sighting(name, pose, robot, now_s, EYE_SIGMA_M, self._noise)
            for name, pose in scene.poses.items()
            if name != robot and np.linalg.norm(pose[:2] - middle_m) < EYE_REACH_M
        ]
        if robot in MOBILE:
            pose = scene.poses[robot]
            seen.append(_sighting(robot, pose, robot, now_s, BASE_SIGMA_M, self._noise))
        return (*seen, *self._felt(scene.poses, state, now_s))

    def feel(self) -> dict[str, bool]:
        """Return arm to whether its hand feels something."""
        state = self._state()
        return dict(zip(arms_of(self._robot), state.touched, strict=True)) if state else {}

    def _felt(
        self, poses: Mapping[str, np.ndarray], state: State, now_s: float
    ) -> tuple[Sighting, ...]:
        """Return which object each hand holds: the one at the tool of a hand that feels any."""
        arms = arms_of(self._robot)
        if not arms:
            return ()
        held = set()
        for arm, touched in zip(arms, state.touched, strict=True):
            tool_m = self._driver.tool(arm, state.position)
            nearest = min(layout.CUBES, key=lambda name: _apart(poses[name], tool_m))
            if touched and _apart(poses[nearest], tool_m) < IN_HAND_M:
                held.add(nearest)
        free = not all(state.touched)
        relations = [
            f"{'' if name in held else 'not '}holding({self._robot}, {name})"
            for name in layout.CUBES
        ]
        relations.append(f"{'' if free else 'not '}free-hand({self._robot})")
        return (
            Sighting(entity=self._robot, by=self._robot, time_s=now_s, relations=tuple(relations)),
        )


class Camera:
    """A camera above a station: a second witness, that no robot has a hand in."""

    def __init__(self, station: str, scene: Callable[[], Scene | None], *, seed: int = 0) -> None:
        """Hang it up."""
        self.name = f"camera-{station}"
        self._centre_m = np.array(layout.STATIONS[station][0])
        self._scene, self._noise = scene, np.random.default_rng(seed)

    def look(self) -> tuple[Sighting, ...]:
        """Return what is below it."""
        scene = self._scene()
        if scene is None:
            return ()
        now_s = time.time()
        return tuple(
            _sighting(name, pose, self.name, now_s, CAMERA_SIGMA_M, self._noise)
            for name, pose in scene.poses.items()
            if np.linalg.norm(pose[:2] - self._centre_m) < layout.STATION_RADIUS_M
        )


def _sighting(
    name: str,
    pose: np.ndarray,
    by: str,
    now_s: float,
    sigma_m: float,
    noise: np.random.Generator,
) -> Sighting:
    position = pose[:3] + noise.normal(0.0, sigma_m, 3)
    return Sighting(
        entity=name,
        by=by,
        time_s=now_s,
        pose=(*position.tolist(), *pose[3:].tolist()),
        sigma_m=sigma_m,
    )


def _middle(robot: str, scene: Scene) -> np.ndarray:
    if robot in MOBILE:
        return scene.poses[robot][:2]
    x, y, _ = layout.ROBOTS[robot]
    return np.array([x, y])


def _apart(pose: np.ndarray, point_m: np.ndarray) -> float:
    return float(np.linalg.norm(pose[:3] - point_m))
