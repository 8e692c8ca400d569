from __future__ import annotations

import math
import tomllib
from pathlib import Path

import cart
import pytest

import loopwright.safety.limits as module
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.safety.limits import KeepOut, Limits, Wall, limits_for

TABLE = tomllib.loads((Path(module.__file__).parent / "limits.toml").read_text())
WALL = Wall(point_m=(0.0, 0.0, 0.5), inward=(0.0, 0.6, 0.8))
BOX = KeepOut(low_m=(0.0, 0.0, 0.0), high_m=(1.0, 0.0, 2.0), radius_m=0.5)
OVERRIDES = {
    name: value
    for name, value in cart.limits().to_json().items()
    if name not in ("point_speed_m_s", "walls", "keep_outs")
}


def test_every_number_of_the_file_has_unit_source_and_date():
    groups = [g for kind in ("robot", "profile") for g in TABLE[kind].values()]
    entries = [entry for group in groups for entry in group.values()]
    assert len(entries) > 30
    for entry in entries:
        assert set(entry) == {"value", "unit", "sources", "date"}
        assert entry["unit"]
        assert entry["sources"]
        assert all(entry["sources"])
        assert len(entry["date"]) == 10


def test_limits_survive_json_and_their_digest_counts_every_number():
    limits = cart.limits(walls=(WALL,), keep_outs=(BOX,))
    again = Limits.from_json(limits.to_json())
    assert again == limits
    assert again.digest == limits.digest
    assert cart.limits(walls=(WALL,)).digest != limits.digest
    assert cart.limits(reaction_s=0.5).digest != cart.limits().digest
    whole = cart.limits(speed=(4, 4, 2), stale_s=1)
    assert whole.digest == cart.limits(speed=(4.0, 4.0, 2.0), stale_s=1.0).digest


def test_a_profile_wins_over_the_robot_and_an_override_over_both():
    spec = cart.Cart.spec
    limits = limits_for(spec, "reduced-speed", OVERRIDES)
    assert limits.point_speed_m_s == 0.25
    assert limits == cart.limits(point_speed_m_s=0.25)
    assert limits_for(spec, "reduced-speed", OVERRIDES | {"point_speed_m_s": 0.1}).digest != (
        limits.digest
    )
    arm = TABLE["robot"]["arm7-v1"]
    assert "point_speed_m_s" not in arm
    assert arm["walls"]["value"]


def test_what_is_left_open_or_unknown_is_named():
    spec = cart.Cart.spec
    with pytest.raises(UnknownName, match="reduced-speed"):
        limits_for(spec, "reduced-sped")
    with pytest.raises(InvalidConfig, match="no limits without deceleration, distance_margin_m"):
        limits_for(spec, "reduced-speed")
    with pytest.raises(UnknownName, match="headroom"):
        Limits.from_json(cart.limits().to_json() | {"headrom": 0.5})
    wrong = OVERRIDES | {
        name: OVERRIDES[name][:2]
        for name in ("position_low", "position_high", "speed", "deceleration", "slew", "residual")
    }
    with pytest.raises(InvalidConfig, match="3 coordinates, the limits 2"):
        limits_for(spec, "reduced-speed", wrong)


@pytest.mark.parametrize(
    "name",
    [
        "speed",
        "point_speed_m_s",
        "deceleration",
        "point_deceleration_m_s2",
        "slew",
        "reaction_s",
        "position_margin",
        "distance_margin_m",
        "headroom",
        "overspeed_gain",
        "stale_s",
        "forecast_hold_steps",
        "forecast_brake_steps",
        "servo_lag_s",
        "residual",
        "residual_s",
        "late_share",
    ],
)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_no_quantity_is_zero_negative_or_endless(name: str, bad: float):
    good = getattr(cart.limits(), name)
    value = (*good[:-1], bad) if isinstance(good, tuple) else bad
    with pytest.raises(InvalidConfig, match=name):
        cart.limits(**{name: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"position_high": (8.0, 8.0)}, "position_high has 2 numbers, position_low has 3"),
        ({"residual": (1.0, 1.0)}, "residual has 2"),
        ({"speed": (1.0, 1.0)}, "speed has 2"),
        ({"slew": (1.0, 1.0)}, "slew has 2"),
        ({"deceleration": (1.0, 1.0)}, "deceleration has 2"),
        ({"position_low": (9.0, -8.0, 0.0)}, "empty"),
        ({"position_low": (-math.inf, -8.0, 0.0)}, "not finite"),
        ({"position_high": (math.inf, 8.0, 0.0)}, "not finite"),
        ({"position_high": (math.nan, 8.0, 0.0)}, "not finite"),
        ({"slew": (3.9, 4.0, 1.0)}, "below deceleration"),
        ({"headroom": 1.01}, "headroom"),
        ({"delay_s": -0.001}, "delay_s"),
        ({"delay_s": math.inf}, "delay_s"),
        ({"delay_s": math.nan}, "delay_s"),
    ],
)
def test_contradictions_are_refused(changes: dict, says: str):
    with pytest.raises(InvalidConfig, match=says):
        cart.limits(**changes)


def test_limits_that_say_nothing_of_delays_look_for_none():
    said = cart.limits().to_json()
    del said["delay_s"], said["late_share"]
    read = Limits.from_json(said)
    assert (read.delay_s, read.late_share) == (0.0, 0.01)
    assert read == cart.limits()


def test_limits_at_the_edge_of_sense_are_allowed():
    cart.limits(position_low=(8.0, 8.0, 0.0), slew=(4.0, 4.0, 1.0), headroom=1.0)


def test_walls_and_keep_outs_that_are_none_are_refused():
    for length in (1.001, 1.0 + 1.5e-6):
        with pytest.raises(InvalidConfig, match="length 1"):
            Wall(point_m=(0.0, 0.0, 0.0), inward=(0.0, 0.0, length))
    with pytest.raises(ValueError, match="longer"):
        KeepOut(low_m=(0.0, 0.0), high_m=(1.0, 1.0, 1.0))  # type: ignore[arg-type]
    Wall(point_m=(0.0, 0.0, 0.0), inward=(0.0, 0.0, 1.0 + 5e-7))
    with pytest.raises(InvalidConfig, match="empty"):
        KeepOut(low_m=(0.0, 0.0, 0.1), high_m=(1.0, 1.0, 0.0))
    with pytest.raises(InvalidConfig, match="empty"):
        KeepOut(low_m=(0.0, 0.0, math.nan), high_m=(1.0, 1.0, 0.0))
    with pytest.raises(InvalidConfig, match="radius_m"):
        KeepOut(low_m=(0.0, 0.0, 0.0), high_m=(1.0, 1.0, 0.0), radius_m=-0.1)
    assert KeepOut(low_m=(0.0, 0.0, 0.0), high_m=(0.0, 0.0, 0.0)).radius_m == 0.0
