from __future__ import annotations

from dataclasses import replace

import cart
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.safety.body import Measured
from loopwright.safety.ladder import Rungs, SafetyFilter
from loopwright.safety.limits import KeepOut, Wall

ANYTHING = st.one_of(
    st.none(),
    st.text(),
    st.binary(),
    st.floats(),
    st.lists(st.floats()),
    st.builds(lambda n: np.zeros(n), st.integers(0, 5)),
    st.builds(lambda n: np.zeros((3, n), dtype="O"), st.integers(0, 2)),
    st.lists(st.floats(), min_size=3, max_size=3).map(np.array),
    st.lists(st.floats(width=32), min_size=3, max_size=3).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(np.array),
    st.sampled_from([np.full(3, v) for v in (1e30, -1e308, 5e-324, -0.0)]),
)


@settings(max_examples=100, deadline=None)
@given(requests=st.lists(st.tuples(ANYTHING, st.one_of(st.floats(), st.none())), max_size=12))
def test_no_request_makes_it_raise_or_apply_what_may_not_be_applied(requests):
    limits = cart.limits()
    one = SafetyFilter(cart.Cart(), limits)
    now = cart.measured(3.0, -2.0)
    one.reset(now)
    previous = np.zeros(3)
    for number, (request, asked_s) in enumerate(requests, 1):
        now = replace(now, time_s=number * cart.PERIOD_S, speed=previous * [1, 1, 0])
        decision = one.step(request, now.time_s if asked_s is None else asked_s, now)
        applied = decision.applied
        assert applied.dtype == np.float64
        assert applied.shape == (3,)
        assert (np.abs(applied) <= np.array([2, 2, 2]) * (1 + 1e-9)).all()
        assert (np.abs(applied - previous)[:2] <= 0.125 * (1 + 1e-9)).all()
        if not decision.altered:
            assert isinstance(request, np.ndarray)
            assert (applied == request).all()
        previous = applied


WALLS = (
    Wall(point_m=(9.0, 0.0, 0.0), inward=(-1.0, 0.0, 0.0)),
    Wall(point_m=(0.0, -3.0, 0.0), inward=(0.0, 1.0, 0.0)),
    Wall(point_m=(0.0, 5.0, 0.0), inward=(-0.6, -0.8, 0.0)),
)
BALL = KeepOut(low_m=(-3.0, 0.0, 0.0), high_m=(-3.0, 1.0, 0.0), radius_m=0.5)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-7.0, 3.0),
    y=st.floats(-2.0, 3.0),
    wishes=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=4),
)
def test_no_sequence_of_requests_leaves_the_envelope_when_the_robot_brakes_as_stated(x, y, wishes):
    """Brute force against the closed form: a double integrator that lags by less than stated."""
    limits = cart.limits(
        headroom=0.9,
        point_speed_m_s=5.0,
        walls=WALLS,
        keep_outs=(BALL,),
        deceleration=(2.0, 2.0, 1.0),
        slew=(4.0, 4.0, 1.0),
        point_deceleration_m_s2=1.0,
    )
    one = SafetyFilter(cart.Cart(), limits, Rungs(residual=False))
    place, speed = np.array([x, y, 0.0]), np.zeros(3)
    now = cart.situation(limits, cart.measured(x, y))
    if (now.distance[np.isfinite(now.distance)] < 0.3).any():
        return
    one.reset(cart.measured(x, y))
    for number in range(1, 129):
        wish = np.array([*wishes[number % (32 * len(wishes)) // 32], 0.0])
        state = Measured(position=place, speed=speed, time_s=number * cart.PERIOD_S)
        decision = one.step(wish, state.time_s, state)
        # The drive changes the speed by at most twice what the slew allows, a little late.
        change = np.clip(decision.applied - speed, -0.125, 0.125)
        speed = (speed + change) * [1, 1, 0]
        place = place + speed * cart.PERIOD_S
        now = cart.situation(limits, Measured(position=place, speed=speed, time_s=0.0))
        assert (now.distance >= 0).all(), now.distance
        assert now.speed_used <= 1.0 + 1e-9
