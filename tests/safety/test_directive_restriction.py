from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from register_site import Site

from loopwright.core.errors import InvalidConfig, LoopwrightError, UnknownName
from loopwright.safety.directive.restriction import LARGER, SMALLER, check_restriction, tightened
from loopwright.safety.limits import Limits

LIMITS = Limits(
    position_low=(-2.0, -1.0),
    position_high=(2.0, 1.0),
    speed=(1.0, 2.0),
    point_speed_m_s=0.25,
    deceleration=(5.0, 5.0),
    point_deceleration_m_s2=2.0,
    slew=(5.0, 5.0),
    reaction_s=0.02,
    position_margin=0.02,
    distance_margin_m=0.01,
    headroom=0.9,
    overspeed_gain=3.0,
    stale_s=0.1,
    forecast_hold_steps=5,
    forecast_brake_steps=20,
    servo_lag_s=0.02,
    residual=(0.25, 0.25),
    residual_s=0.02,
)


@given(st.sampled_from(sorted(SMALLER | LARGER)), st.floats(0.001, 0.9))
def test_nothing_is_ever_loosened(name: str, value: float) -> None:
    new, old = (
        x if isinstance(x, tuple) else (x,)
        for x in (getattr(tightened(LIMITS, [{name: value}]), name), getattr(LIMITS, name))
    )
    pairs = list(zip(new, old, strict=True))
    if name in SMALLER:
        assert all(a == min(b, value) for a, b in pairs)
    else:
        assert all(a == max(b, value) for a, b in pairs)


def test_restrictions_add_up() -> None:
    found = tightened(
        LIMITS,
        [
            {"speed": [0.5, 3.0], "point_speed_m_s": 0.2},
            {"point_speed_m_s": 0.1, "walls": [{"point_m": [0, 0, 0], "inward": [0, 0, 1]}]},
        ],
    )
    assert found.speed == (0.5, 2.0)
    assert found.point_speed_m_s == 0.1
    assert len(found.walls) == 1


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"velocity": 1.0}, UnknownName),
        ({"overspeed_gain": 1.0}, UnknownName),
        ({"speed": "slow"}, InvalidConfig),
        ({"speed": []}, InvalidConfig),
        ({"walls": 1.0}, InvalidConfig),
        ({"walls": [{"point": [0, 0, 0]}]}, InvalidConfig),
        ({"keep_outs": [{"centre": 1}]}, InvalidConfig),
    ],
)
def test_what_no_filter_could_keep_never_enters_a_register(
    tmp_path: Path, overrides: dict[str, Any], error: type[LoopwrightError]
) -> None:
    with pytest.raises(error):
        check_restriction(overrides)
    site = Site(tmp_path)
    register = site.begin()
    with pytest.raises(error):
        register.append(site.directive(register, action="restrict", limits=overrides))
    assert len(register) == 0


def test_a_restriction_for_another_robot_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="2 numbers"):
        tightened(LIMITS, [{"speed": [1.0, 1.0, 1.0]}])
