"""Limits are judged by code that the filter does not share, and rightly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trolley import limits, make_body

from loopwright.safety.body import Body, Measured
from loopwright.safety.limits import KeepOut, Limits
from loopwright.safety.occurrence.violation import LimitWatch

BOX = KeepOut(low_m=(-0.5, -0.5, -1.0), high_m=(-0.25, 0.5, 1.0), radius_m=0.125)
BALL = KeepOut(low_m=(0.0, 1.0, 0.0), high_m=(0.0, 1.0, 0.0), radius_m=0.25)
LIMITS = limits(keep_outs=(BOX, BALL))
WATCH = LimitWatch(make_body(), LIMITS)


def state(x: float, y: float = 0.0, vx: float = 0.0, vy: float = 0.0) -> Measured:
    return Measured(position=np.array([x, y]), speed=np.array([vx, vy]), time_s=0.0)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (state(0.0), {}),
        (state(0.5), {}),
        (state(0.75), {"wall": 0.25}),
        (state(0.0, 2.5), {"position": 0.5}),
        (state(0.0, 0.0, vy=-1.5), {"speed": 0.5}),
        (state(-0.1875), {"keep-out": 0.0625}),
        (state(-0.375), {"keep-out": 0.25}),
        (state(0.0, 1.125), {"keep-out": 0.125}),
        (state(0.75, 2.5), {"position": 0.5, "wall": 0.25}),
        (state(np.nan), {"not finite": 1.0}),
    ],
)
def test_every_limit_is_named_with_its_excess(where: Measured, expected: dict[str, float]) -> None:
    assert WATCH.exceeded(where) == pytest.approx(expected)


def test_the_speed_of_points_counts_by_itself() -> None:
    watch = LimitWatch(make_body(), limits(point_speed_m_s=1.0, speed=(1.0, 1.0)))
    assert watch.exceeded(state(0.0, vx=0.8, vy=0.8)) == pytest.approx(
        {"point speed": 0.8 * 2**0.5 - 1.0}
    )


def exceeded(limits: Limits, body: Body, measured: Measured) -> tuple[str, ...]:
    """Return the names of the limits that a measured state exceeds, written apart once more."""
    if not (np.isfinite(measured.position).all() and np.isfinite(measured.speed).all()):
        return ("not finite",)
    moves = np.array([kind == "speed" for kind in body.spec.kinds])
    low, high = np.array(limits.position_low), np.array(limits.position_high)
    places = body.place(measured.position)
    point_speed = np.linalg.norm(places.jacobian @ measured.speed, axis=-1)
    found = {
        "position": moves & ((measured.position < low) | (measured.position > high)),
        "speed": moves & (np.abs(measured.speed) > np.array(limits.speed) + 1e-6),
        "point speed": point_speed > limits.point_speed_m_s + 1e-6,
        "wall": [_depth_m(limits, point) > 1e-6 for point in places.position_m],
        "keep-out": [_is_inside(limits, point) for point in places.position_m],
    }
    return tuple(name for name, broken in found.items() if np.any(broken))


def _depth_m(limits: Limits, point: np.ndarray) -> float:
    """Return how far a point lies beyond the nearest wall; negative on the right side of all."""
    return max(
        (-float(np.dot(point - wall.point_m, wall.inward)) for wall in limits.walls), default=-1.0
    )


def _is_inside(limits: Limits, point: np.ndarray) -> bool:
    """Tell whether a point lies in a keep-out volume."""
    for volume in limits.keep_outs:
        nearest = np.clip(point, volume.low_m, volume.high_m)
        if float(np.linalg.norm(point - nearest)) <= volume.radius_m:
            return True
    return False


numbers = st.floats(-3.0, 3.0).map(lambda value: round(value, 3))


@given(x=numbers, y=numbers, vx=numbers, vy=numbers)
def test_it_agrees_with_a_second_judge(x: float, y: float, vx: float, vy: float) -> None:
    """Two judges, written apart; they may differ within the rounding at a limit."""
    where = state(x, y, vx, vy)
    found = WATCH.exceeded(where)
    other = set(exceeded(LIMITS, make_body(), where))
    clear = {name for name, amount in found.items() if amount > 1e-5}
    touching = {"keep-out", "position", "wall", "speed", "point speed"} - clear
    assert clear <= other
    assert other - set(found) <= {name for name in touching if _is_near(where, name)}


def _is_near(where: Measured, name: str) -> bool:
    """Whether a slightly larger state would exceed the limit."""
    tight = limits(
        keep_outs=(
            KeepOut(low_m=BOX.low_m, high_m=BOX.high_m, radius_m=BOX.radius_m + 1e-5),
            KeepOut(low_m=BALL.low_m, high_m=BALL.high_m, radius_m=BALL.radius_m + 1e-5),
        ),
        position_low=(-2.0 + 1e-5, -2.0 + 1e-5),
        position_high=(2.0 - 1e-5, 2.0 - 1e-5),
    )
    return name in LimitWatch(make_body(), tight).exceeded(where)
