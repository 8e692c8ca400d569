"""Seven position servos with LeRobot's interface, which move by the wall clock."""

from __future__ import annotations

import time

import numpy as np

MOTORS = tuple(f"motor_{n}" for n in range(1, 8))
DEGREES = 57.29577951308232
HOME_RAD = np.array([0.0, -0.3, 0.0, -2.0, 0.0, 1.8, 0.6])
LAG_S = 0.05
STEP_S = 0.001


class ServoArm:
    """Each servo closes a share of its way to the goal; ``jammed`` ones do not move."""

    def __init__(self, home_rad: np.ndarray = HOME_RAD) -> None:
        self.angle = np.degrees(home_rad)
        self.goal = self.angle.copy()
        self.jammed = False
        self.connections = 0
        self.lies: dict[str, object] = {}
        self._moved_s = time.monotonic()

    def connect(self) -> None:
        self.connections += 1

    def disconnect(self) -> None:
        self.connections -= 1

    def get_observation(self) -> dict[str, object]:
        self.pass_time()
        said = {f"{m}.pos": a for m, a in zip(MOTORS, self.angle, strict=True)}
        return {"front": np.zeros((2, 2, 3)), **said, **self.lies}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.pass_time()
        self.goal = np.array([action[f"{m}.pos"] for m in MOTORS])
        return action

    def pass_time(self) -> None:
        passed_s = time.monotonic() - self._moved_s
        self._moved_s += passed_s
        if not self.jammed:
            self.angle = self.goal + (self.angle - self.goal) * np.exp(-passed_s / LAG_S)


def make_robot() -> ServoArm:
    return ServoArm()
