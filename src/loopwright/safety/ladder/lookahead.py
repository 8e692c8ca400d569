"""Fifth rung: a simplex. A command passes only if braking after it is known to end well.

Every few steps the nominal model is asked where the command leads if it is held until the next
question and the robot then brakes. If that leaves the limits, the robot brakes until the next
question: the answer before has found that good.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.body import Body, Forecast
from loopwright.safety.decision import Reason
from loopwright.safety.ladder.geometry import Hazards
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.ladder.slew import Slew
from loopwright.safety.limits import Limits


class LookAhead:
    """Asks the body's nominal model before a command passes."""

    def __init__(self, body: Body, limits: Limits, now: Situation, slew: Slew) -> None:
        """Prepare; ``slew`` knows how to brake."""
        self._body, self._limits, self._slew = body, limits, slew
        self._hazards: Hazards | None = None
        self._hold, self._brake = limits.forecast_hold_steps, limits.forecast_brake_steps
        self._low, self._high = np.array(limits.position_low), np.array(limits.position_high)
        self._top = np.array(limits.speed)
        self._reach_m = limits.point_speed_m_s * (self._hold + self._brake) * now.period_s
        self._steps_left = 0
        self._is_braking: bool

    def apply(self, command: np.ndarray, now: Situation) -> Reason:
        """Replace ``command`` by braking, in place, if it leads out of the limits."""
        if self._steps_left == 0:
            self._steps_left = self._hold
            forecast = self._body.forecast(
                now.measured, command, hold_steps=self._hold, brake_steps=self._brake
            )
            self._is_braking = not self._stays_inside(forecast, now)
        self._steps_left -= 1
        if not self._is_braking:
            return Reason.UNALTERED
        np.copyto(command, self._slew.brake(now))
        return Reason.FORECAST

    def _stays_inside(self, forecast: Forecast, now: Situation) -> bool:
        """Tell whether no sample is outside, or further out than the robot is already."""
        position, points_m, state = forecast.position, forecast.points_m, now.measured
        path_m = np.concatenate([now.places.position_m[None], points_m])
        moved_m = path_m[1:] - path_m[:-1]
        samples, points, _ = points_m.shape
        # Samples are evenly spaced in time, so the way between two of them is a speed.
        allowed_m = self._reach_m / samples * max(1.0, now.speed_used)
        if self._hazards is None:
            self._hazards = Hazards(self._limits, samples * points)
        self._hazards.look(points_m.reshape(samples * points, 3))
        distance_m = self._hazards.distance_m.reshape(samples, points, now.hazards.count)
        return bool(
            (position >= np.minimum(self._low, state.position)).all()
            and (position <= np.maximum(self._high, state.position)).all()
            and (np.abs(forecast.speed) <= np.maximum(self._top, np.abs(state.speed))).all()
            and (np.add.reduce(moved_m * moved_m, 2) <= allowed_m * allowed_m).all()
            and (distance_m >= np.minimum(now.hazards.distance_m, 0.0)).all()
        )
