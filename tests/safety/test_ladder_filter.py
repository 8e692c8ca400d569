from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cart
import numpy as np
import pytest

from loopwright.core.digest import digest_json, digest_tree
from loopwright.core.errors import InvalidConfig
from loopwright.safety import ladder
from loopwright.safety.body import Measured
from loopwright.safety.decision import Reason
from loopwright.safety.ladder import ALL, Rungs, SafetyFilter

NONE = Rungs(clamp=False, envelope=False, slew=False, look_ahead=False, residual=False)


def started(rungs: Rungs = ALL, where: Measured | None = None, **changes: Any) -> SafetyFilter:
    one = SafetyFilter(cart.Cart(), cart.limits(**changes), rungs)
    one.reset(cart.measured() if where is None else where)
    return one


def step(one: SafetyFilter, wish: Any, *, time_s: float = cart.PERIOD_S, asked_s: Any = None, **at):
    request = np.array(wish, float) if isinstance(wish, (list, tuple)) else wish
    asked_s = time_s if asked_s is None else asked_s
    return one.step(request, asked_s, cart.measured(time_s=time_s, **at))


def test_a_modest_request_passes_bit_by_bit():
    one = started()
    wish = np.array([0.1, -0.1, 0.3])
    decision = one.step(wish, 0.0, cart.measured(time_s=cart.PERIOD_S))
    assert not decision.altered
    assert not decision.stopping
    assert decision.margin == 1.0
    assert decision.applied.tobytes() == wish.tobytes()
    assert decision.applied is not wish
    before = decision.applied.copy()
    step(one, [0.2, 0.0, 0.0], time_s=2 * cart.PERIOD_S)
    assert decision.applied.tolist() == before.tolist()


def test_rungs_apply_in_order_and_the_last_that_altered_names_the_reason():
    for rungs, wish, reason, applied in (
        (NONE, [9, 0, 0], Reason.UNALTERED, [9, 0, 0]),
        (replace(NONE, clamp=True), [9, 0, 9], Reason.CLAMPED, [4, 0, 2]),
        (replace(NONE, clamp=True, envelope=True), [9, 0, 9], Reason.SPEED, [2, 0, 2]),
        (replace(ALL, look_ahead=False), [9, 0, 9], Reason.SLEW, [0.125, 0, 2]),
    ):
        decision = step(started(rungs), wish)
        assert (decision.reason, decision.applied.tolist()) == (reason, applied)


def test_the_command_of_one_step_is_what_the_next_may_change():
    one = started()
    for number in range(1, 5):
        decision = step(one, [2, -2, 0], time_s=number * cart.PERIOD_S, vx=0.125 * (number - 1))
        assert decision.applied.tolist() == [0.125 * number, -0.125 * number, 0]
        assert decision.reason is Reason.SLEW


def test_a_filter_begins_from_the_measured_motion():
    one = started(where=cart.measured(vx=1.0))
    assert step(one, [1.125, 0, 0], vx=1.0).reason is Reason.UNALTERED
    one = started(where=cart.measured(vx=1.0))
    decision = step(one, [0, 0, 0], vx=1.0)
    assert (decision.reason, decision.applied.tolist()) == (Reason.SLEW, [0.875, 0, 0])


def test_without_a_reset_the_first_step_is_one():
    one = SafetyFilter(cart.Cart(), cart.limits())
    decision = one.step(np.array([1.125, 0.0, 0.0]), 7.0, cart.measured(vx=1.0, time_s=7.0))
    assert decision.reason is Reason.UNALTERED


def test_what_is_no_request_brakes_and_keeps_its_reason_and_the_grip():
    one = started(where=cart.measured(vx=1.0))
    step(one, [1, 0, 0.5], vx=1.0)
    for number, (wish, reason) in enumerate(
        [(None, Reason.MALFORMED), (np.full(3, np.nan), Reason.NOT_FINITE)], 2
    ):
        decision = step(one, wish, time_s=number * cart.PERIOD_S, vx=1.0)
        assert decision.reason is reason
        assert decision.applied.tolist() == [1.125 - 0.125 * number, 0, 0.5]
        assert not decision.stopping
    decision = step(one, [1, 0, 0], time_s=4 * cart.PERIOD_S, asked_s=-1.0, vx=0.75)
    assert decision.reason is Reason.STALE


def test_the_look_ahead_has_its_say_and_may_be_left_out():
    one = started(where=cart.measured(vx=1.0))
    one.body.shift_m[:] = (0.0, 0.0, 100.0)  # pyright: ignore[reportAttributeAccessIssue]
    decision = step(one, [1, 0, 0.25], vx=1.0)
    assert (decision.reason, decision.applied.tolist()) == (Reason.FORECAST, [0.875, 0, 0])
    one = started(replace(ALL, look_ahead=False), cart.measured(vx=1.0))
    one.body.shift_m[:] = (0.0, 0.0, 100.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert step(one, [1, 0, 0.25], vx=1.0).reason is Reason.UNALTERED
    with pytest.raises(InvalidConfig, match="look-ahead"):
        Rungs(slew=False)


def test_a_robot_that_does_not_follow_is_braked_until_a_person_releases_it():
    one = started()
    decisions = [step(one, [0, 0, 0], time_s=n * cart.PERIOD_S, vx=1.5) for n in range(1, 5)]
    assert [d.stopping for d in decisions] == [False, True, True, True]
    assert [d.reason for d in decisions[1:]] == [Reason.RESIDUAL, Reason.BRAKED, Reason.BRAKED]
    assert decisions[1].applied.tolist() == [0, 0, 0]
    assert decisions[1].margin == 0.625
    assert one.latched is Reason.RESIDUAL
    one.reset(cart.measured(time_s=5 * cart.PERIOD_S))
    assert one.latched is Reason.RESIDUAL
    one.release()
    assert one.latched is None
    assert not step(one, [0, 0, 0], time_s=6 * cart.PERIOD_S).stopping
    one = started(replace(ALL, residual=False))
    for n in range(1, 100):
        assert not step(one, [0, 0, 0], time_s=n * cart.PERIOD_S, vx=2.5).stopping


def test_a_reason_from_outside_latches_too_and_the_grip_is_kept():
    one = started()
    step(one, [0, 0, 1.5])
    one.latch(Reason.LEASE)
    one.latch(Reason.PEER)
    first, second = (step(one, [0.1, 0, 0], time_s=n * cart.PERIOD_S) for n in (2, 3))
    assert (first.reason, second.reason) == (Reason.LEASE, Reason.BRAKED)
    assert first.stopping
    assert second.stopping
    assert first.applied.tolist() == [0, 0, 1.5]
    one.release()
    assert step(one, [0.1, 0, 0], time_s=4 * cart.PERIOD_S).reason is Reason.UNALTERED
    one.latch(Reason.PEER)
    assert step(one, [0, 0, 0], time_s=5 * cart.PERIOD_S).reason is Reason.PEER


def test_after_a_release_motion_goes_on_from_what_is_measured():
    one = started()
    one.latch(Reason.OPERATOR)
    for n in range(1, 50):
        step(one, [0, 0, 0], time_s=n * cart.PERIOD_S, vx=1.0)
    one.release()
    decision = step(one, [1, 0, 0], time_s=50 * cart.PERIOD_S, vx=1.0)
    assert decision.reason is Reason.UNALTERED


BAD = {
    "no position": {"position": None},
    "no speed": {"speed": None},
    "short position": {"position": np.zeros(2)},
    "short speed": {"speed": np.zeros(2)},
    "NaN position": {"position": np.array([np.nan, 0, 0])},
    "infinite speed": {"speed": np.array([0, np.inf, 0])},
    "NaN time": {"time_s": np.nan},
    "endless time": {"time_s": np.inf},
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_measurement_latches_the_brake(name: str):
    bad = replace(cart.measured(time_s=cart.PERIOD_S), **BAD[name])
    one = started()
    decision = one.step(np.zeros(3), 0.0, bad)
    assert (decision.reason, decision.stopping) == (Reason.NOT_FINITE, True)
    assert decision.margin == -1.0
    assert decision.applied.tolist() == [0, 0, 0]
    assert step(one, [0, 0, 0], time_s=2 * cart.PERIOD_S).reason is Reason.BRAKED
    one = SafetyFilter(cart.Cart(), cart.limits())
    one.reset(bad)
    assert one.latched is Reason.NOT_FINITE
    assert one.step(np.zeros(3), 0.0, bad).stopping


def test_measurements_that_stand_still_in_time_latch_the_brake_when_they_are_stale():
    # 0.125 s are 8 control steps.
    one = started()
    decisions = [step(one, [0, 0, 0], time_s=0.0) for _ in range(9)]
    assert [d.stopping for d in decisions] == [False] * 8 + [True]
    assert decisions[-1].reason is Reason.STALE
    one = started(where=cart.measured(time_s=1.0))
    for n in range(8):
        assert not step(one, [0, 0, 0], time_s=1.0 - n, asked_s=1.0 - n).stopping
    assert step(one, [0, 0, 0], time_s=0.0).reason is Reason.STALE
    one = started()
    for n in range(50):
        assert not step(one, [0, 0, 0], time_s=(n // 4) * cart.PERIOD_S).stopping


def test_a_gap_in_the_measurements_latches_the_brake():
    assert not step(started(), [0, 0, 0], time_s=0.125).stopping
    one = started()
    assert step(one, [0, 0, 0], time_s=0.126).reason is Reason.STALE
    one.release()
    assert not step(one, [0, 0, 0], time_s=0.2).stopping


def test_a_reset_forgets_the_time_before():
    one = started()
    for _ in range(7):
        step(one, [0, 0, 0], time_s=0.0)
    one.reset(cart.measured(time_s=99.0))
    for _ in range(7):
        assert not step(one, [0, 0, 0], time_s=99.0).stopping


def test_limits_of_another_body_are_refused():
    short = {
        name: getattr(cart.limits(), name)[:2]
        for name in ("position_low", "position_high", "speed", "deceleration", "slew", "residual")
    }
    with pytest.raises(InvalidConfig, match="cart-v1 has 3"):
        SafetyFilter(cart.Cart(), cart.limits(**short))


def test_the_digest_changes_with_body_limits_and_rungs_and_with_nothing_else():
    digest = SafetyFilter(cart.Cart(), cart.limits()).digest
    assert SafetyFilter(cart.Cart(), cart.limits()).digest == digest == started().digest
    other = cart.Cart()
    other.spec = replace(cart.Cart.spec, build="numpy 2")
    digests = {
        digest,
        SafetyFilter(other, cart.limits()).digest,
        SafetyFilter(cart.Cart(), cart.limits(stale_s=0.25)).digest,
        SafetyFilter(cart.Cart(), cart.limits(), Rungs(residual=False)).digest,
    }
    assert len(digests) == 4
    # Written down again, so that another reader of the same files comes to the same digest.
    assert digest == digest_json(
        {
            "body": asdict(cart.Cart.spec),
            "limits": cart.limits().digest,
            "rungs": asdict(ALL),
            "code": digest_tree(Path(ladder.__file__).parent, ".py"),
        }
    )


def test_the_envelope_has_the_last_word_over_the_slew_where_it_stands():
    for rungs, left in (
        (replace(ALL, look_ahead=False), 2.0),
        (replace(ALL, look_ahead=False, envelope=False), 2.875),
    ):
        one = started(rungs, cart.measured(6.5, vx=3.0), headroom=1.0)
        decision = step(one, [1, 0, 0], x=6.5, vx=3.0)
        assert (decision.reason, decision.applied.tolist()) == (Reason.SLEW, [left, 0, 0])


def test_rungs_are_named():
    with pytest.raises(TypeError):
        Rungs(False)  # type: ignore[misc]
