from __future__ import annotations

import cart
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.braking import Braking
from loopwright.safety.ladder.geometry import Hazards
from loopwright.safety.limits import KeepOut, Wall

FLOOR = Wall(point_m=(5.0, 5.0, -1.0), inward=(0.0, 0.0, 1.0))
SIDE = Wall(point_m=(4.0, 0.0, 0.0), inward=(-1.0, 0.0, 0.0))
BALL = KeepOut(low_m=(2.0, 0.0, 0.0), high_m=(2.0, 0.0, 0.0), radius_m=0.5)
BOX = KeepOut(low_m=(-3.0, -1.0, -2.0), high_m=(-1.0, 1.0, 2.0), radius_m=0.25)


def look(points: list[tuple[float, float, float]], **changes: object) -> Hazards:
    hazards = Hazards(cart.limits(**changes), len(points))
    hazards.look(np.array(points))
    return hazards


def test_distances_and_the_ways_to_walls_and_keep_outs():
    seen = look([(0.0, 0.0, 0.0), (2.0, 0.0, 1.0)], walls=(FLOOR, SIDE), keep_outs=(BALL, BOX))
    assert (seen.walls, seen.count) == (2, 4)
    assert seen.distance_m.tolist() == [[1.0, 4.0, 1.5, 0.75], [2.0, 2.0, 0.5, 2.75]]
    assert seen.towards[0].tolist() == [[0, 0, -1], [1, 0, 0], [1, 0, 0], [-1, 0, 0]]
    assert seen.towards[1].tolist() == [[0, 0, -1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]]


def test_beside_an_edge_the_way_leads_to_the_edge():
    seen = look([(2.0, 5.0, 0.0)], keep_outs=(BOX,))
    assert seen.distance_m.tolist() == [[4.75]]
    assert seen.towards[0].tolist() == [[[-0.6, -0.8, 0.0]][0]]


@pytest.mark.parametrize(
    ("point", "distance_m", "towards"),
    [
        ((-1.25, 0.0, 0.0), -0.5, [-1.0, 0.0, 0.0]),
        ((-2.75, 0.5, 0.0), -0.5, [1.0, 0.0, 0.0]),
        ((-2.0, -0.875, 1.0), -0.375, [0.0, 1.0, 0.0]),
        ((-2.0, 0.0, 1.5), -0.75, [0.0, 0.0, -1.0]),
        ((-1.0, 0.0, 0.0), -0.25, [-1.0, 0.0, 0.0]),
    ],
)
def test_inside_a_box_the_nearest_face_is_the_way_out(point, distance_m, towards):
    seen = look([(9.0, 0.0, 0.0), point], keep_outs=(BALL, BOX))
    assert seen.distance_m[1, 1] == distance_m
    assert seen.towards[1, 1].tolist() == towards
    assert seen.distance_m[0].tolist() == [6.5, 9.75]
    assert seen.distance_m[1, 0] == pytest.approx(
        np.hypot(2 - point[0], np.hypot(*point[1:])) - 0.5
    )


def test_in_the_middle_of_a_ball_some_way_out_is_named():
    seen = look([(2.0, 0.0, 0.0)], keep_outs=(BALL,))
    assert seen.distance_m.tolist() == [[-0.5]]
    assert np.linalg.norm(seen.towards[0, 0]) == 1.0


coordinate = st.floats(-6, 6)


@given(point=st.tuples(coordinate, coordinate, coordinate), step=st.floats(1e-4, 1e-3))
def test_a_step_along_the_way_shortens_the_distance_by_as_much(point, step):
    hazards = {"walls": (FLOOR, SIDE), "keep_outs": (BALL, BOX)}
    before = look([point], **hazards)
    for index in range(before.count):
        if before.distance_m[0, index] > -0.2:
            nearer = tuple(np.array(point) + step * before.towards[0, index])
            after = look([nearer], **hazards)
            shortened = before.distance_m[0, index] - after.distance_m[0, index]
            assert shortened == pytest.approx(step, rel=1e-6, abs=1e-12)


def test_braking_speed_is_the_inverse_of_braking_distance():
    braking = Braking(np.array([4.0, 2.0]), 0.25)
    assert braking.distance(np.array([2.0, 2.0])).tolist() == [1.0, 1.5]
    assert braking.speed(np.array([1.0, 1.5])).tolist() == [2.0, 2.0]
    assert braking.speed(np.array([0.0, -3.0])).tolist() == [0.0, -12.0]


def test_a_situation_lays_out_every_limit_of_place_as_a_row():
    limits = cart.limits(walls=(SIDE,), keep_outs=(BALL,))
    now = cart.situation(limits, cart.measured(0.5, 0.0))
    assert now.distance.tolist() == [
        7.5,
        8.0,
        np.inf,
        8.5,
        8.0,
        np.inf,
        3.5,
        1.0,
        3.0,
        np.sqrt(2) - 0.5,
    ]
    assert now.period_s == 1 / 64
    expected = [Reason.POSITION] * 6 + [Reason.WALL, Reason.KEEP_OUT] * 2
    assert now.reasons == expected
    assert now.approach[:6].tolist() == [*np.eye(3).tolist(), *(-np.eye(3)).tolist()]
    assert now.approach[6:9].tolist() == [[1, 0, 0], [1, 0, 0], [2, 0, 0]]
    diagonal = np.sqrt(0.5)
    assert now.approach[9].tolist() == pytest.approx([2 * diagonal, -diagonal, 0])


def test_the_margin_is_the_share_of_the_room_that_top_speed_needs():
    # From 4 m/s the coordinates need 4 * 0.25 + 16 / 8 = 3 m.
    limits = cart.limits(speed=(4.0, 4.0, 2.0))
    assert cart.situation(limits, cart.measured()).margin == 1.0
    assert cart.situation(limits, cart.measured(6.5)).margin == 0.5
    assert cart.situation(limits, cart.measured(0.0, -6.5)).margin == 0.5
    assert cart.situation(limits, cart.measured(8.0)).margin == 0.0
    assert cart.situation(limits, cart.measured(9.5)).margin == -0.5
    assert cart.situation(limits, cart.measured(vx=-3.0)).margin == 0.25
    assert cart.situation(limits, cart.measured(vx=-3.0)).speed_used == 0.75
    assert cart.situation(limits, cart.measured(vy=6.0)).margin == -0.5
    # The tail moves at 6 m/s of 8.
    slower = cart.limits(point_speed_m_s=8.0)
    assert cart.situation(slower, cart.measured(vx=3.0)).speed_used == 0.75
    # From 8 m/s a point needs 8 * 0.25 + 64 / 4 = 18 m.
    wall = cart.limits(point_speed_m_s=8.0, walls=(SIDE,))
    assert cart.situation(wall, cart.measured(-0.25)).margin == pytest.approx(4.25 / 18)


def test_an_effort_has_neither_place_nor_speed():
    where = cart.measured()
    where.position[2], where.speed[2] = 99.0, 99.0
    now = cart.situation(cart.limits(), where)
    assert (now.margin, now.speed_used) == (1.0, 0.0)


def test_a_body_without_points_and_a_room_without_hazards():
    now = cart.situation(cart.limits(), cart.measured(7.0))
    assert len(now.distance) == 6
    assert now.fastest_point_m_s(np.array([3.0, 0.0, 9.0])) == 6.0
