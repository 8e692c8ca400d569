"""The memory of the world: beliefs, their age, questions in space and time, and what holds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.robot.logic import Condition, Fact
from loopwright.robot.memory.memory import FORGET_S, Memory, Outdated
from loopwright.robot.memory.predicates import check_fact
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.sighting import Sighting

UPRIGHT = (1.0, 0.0, 0.0, 0.0)
THINGS = Things(
    (
        Thing(name="bench", kind="station", position_m=(0.0, 0.0, 0.0), radius_m=1.0),
        Thing(name="door", kind="station", position_m=(4.0, 0.0, 0.0), radius_m=1.0),
        Thing(name="table", kind="surface", position_m=(0.3, 0.0, 0.5), size_m=(0.4, 0.6, 0.1)),
        Thing(
            name="cart",
            kind="robot",
            deck_m=(0.2, 0.0, 0.4),
            size_m=(0.3, 0.3, 0.1),
            parts=("base",),
            drift_m_per_root_s=0.05,
        ),
        Thing(name="arm", kind="robot", position_m=(0.0, 0.3, 0.5), parts=("arm", "gripper")),
        Thing(name="cube", kind="object", size_m=(0.04, 0.04, 0.04), drift_m_per_root_s=0.001),
    )
)


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path, clock: Clock) -> Memory:
    return Memory(tmp_path / "memory.db", THINGS, clock=clock)


def seen(
    clock: Clock, entity: str, *xyz: float, sigma_m: float = 0.005, yaw_rad: float = 0.0, **rest
) -> Sighting:
    turned = (math.cos(yaw_rad / 2), 0.0, 0.0, math.sin(yaw_rad / 2))
    pose = (*xyz, *turned) if xyz else None
    return Sighting(entity=entity, by="camera", time_s=clock(), pose=pose, sigma_m=sigma_m, **rest)


def truth(memory: Memory, text: str, since_s: float | None = None) -> bool | None:
    return Condition.parse(text).truth(memory.facts(since_s=since_s))


def test_what_was_never_seen_is_unknown(memory: Memory) -> None:
    assert memory.where("cube") is None
    assert truth(memory, "on(cube, table)") is None
    assert truth(memory, "holding(arm, cube)") is None
    assert truth(memory, "at(cart, door)") is None
    with pytest.raises(UnknownName, match="did you mean 'cube'"):
        memory.where("cubes")


def test_an_object_rests_where_its_lower_face_is(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    assert truth(memory, "on(cube, table)") is True
    assert truth(memory, "clear(table)") is False
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.80)])  # lifted
    assert truth(memory, "on(cube, table)") is False
    assert truth(memory, "clear(table)") is True
    memory.take([seen(clock, "cube", 0.49, 0.1, 0.52, sigma_m=0.05)])  # perhaps over the edge
    assert truth(memory, "on(cube, table)") is None
    assert truth(memory, "clear(table)") is None


def test_what_a_hand_holds_rests_nowhere(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    memory.take([seen(clock, "arm", relations=("holding(arm, cube)", "not free-hand(arm)"))])
    assert truth(memory, "on(cube, table)") is False
    assert truth(memory, "not free-hand(arm)") is True


@given(
    x=st.floats(-5, 5),
    y=st.floats(-5, 5),
    yaw_rad=st.floats(-math.pi, math.pi),
    inside=st.booleans(),
)
def test_a_deck_goes_where_its_robot_goes(
    tmp_path_factory: pytest.TempPathFactory, x: float, y: float, yaw_rad: float, inside: bool
) -> None:
    clock = Clock()
    memory = Memory(tmp_path_factory.mktemp("m") / "memory.db", THINGS, clock=clock)
    reach_m = 0.2 if inside else 0.2 + 0.4
    cube = (
        x + math.cos(yaw_rad) * reach_m,
        y + math.sin(yaw_rad) * reach_m,
        0.42,
    )
    memory.take([seen(clock, "cart", x, y, 0.0, yaw_rad=yaw_rad), seen(clock, "cube", *cube)])
    assert truth(memory, "on(cube, cart)") is inside
    memory.close()


def test_beliefs_age_until_nothing_is_sure(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cart", 4.0, 0.0, 0.0)])
    assert truth(memory, "at(cart, door)") is True
    clock.now_s += 3600
    belief = memory.where("cart")
    assert belief
    assert belief.sigma_m == pytest.approx(math.hypot(0.005, 0.05 * 60))
    assert truth(memory, "at(cart, door)") is None


def test_only_what_was_seen_since_supports_a_fact(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    clock.now_s += 1
    assert truth(memory, "on(cube, table)", since_s=clock.now_s) is None
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    assert truth(memory, "on(cube, table)", since_s=clock.now_s) is True


@given(st.lists(st.tuples(st.floats(-0.01, 0.01), st.floats(0.002, 0.05)), min_size=2, max_size=8))
def test_more_sightings_make_surer_and_stay_between(
    tmp_path_factory: pytest.TempPathFactory, looks: list[tuple[float, float]]
) -> None:
    clock = Clock()
    still = Things((Thing(name="cube", kind="object"),))
    memory = Memory(tmp_path_factory.mktemp("m") / "memory.db", still, clock=clock)
    for x, sigma_m in looks:
        memory.take([seen(clock, "cube", x, 0.0, 0.0, sigma_m=max(sigma_m, 0.005))])
        clock.now_s += 0.1
    belief = memory.where("cube")
    assert belief
    assert min(x for x, _ in looks) - 1e-9 <= belief.pose[0] <= max(x for x, _ in looks) + 1e-9
    assert belief.version == len(looks)
    memory.close()


def test_where_it_was_when_and_by_whose_word(memory: Memory, clock: Clock) -> None:
    began_s = clock.now_s
    for x in (0.0, 1.0, 2.0):
        memory.take([seen(clock, "cube", x, 0.0, 0.5)])
        clock.now_s += 10
    was = memory.where_was("cube", began_s + 15)
    assert was
    assert (was.pose and was.pose[0], was.by, was.time_s) == (1.0, "camera", began_s + 10)
    assert memory.where_was("cube", began_s - 1) is None
    near = memory.near((1.0, 0.0, 0.5), 0.3, between_s=(began_s, clock.now_s))
    assert [s.time_s for s in near] == [began_s + 10]
    assert len(list(memory.history("cube"))) == 3


def test_of_two_writers_the_second_must_read_again(memory: Memory, clock: Clock) -> None:
    first = memory.revise(seen(clock, "cube", 0.0, 0.0, 0.5), expected=0)
    memory.revise(seen(clock, "cube", 0.1, 0.0, 0.5), expected=first.version)
    with pytest.raises(Outdated, match="version 2, not 1"):
        memory.revise(seen(clock, "cube", 9.0, 0.0, 0.5), expected=first.version)
    belief = memory.where("cube")
    assert belief
    assert belief.pose[0] < 1


def test_beliefs_survive_a_restart(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    memory.take([seen(clock, "arm", relations=("free-hand(arm)",))])
    symbols = memory.symbols()
    memory.close()
    again = Memory(memory.path, THINGS, clock=clock)
    assert again.where("cube") == memory._beliefs["cube"]
    assert again.symbols() == symbols
    assert Fact("on", ("cube", "table")) in symbols.true
    assert Fact("at", ("table", "bench")) in symbols.true


def test_the_same_again_is_believed_but_not_kept(memory: Memory, clock: Clock) -> None:
    for _ in range(50):
        memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
        clock.now_s += 0.1
    assert len(list(memory.history("cube"))) <= 6
    belief = memory.where("cube")
    assert belief
    assert belief.time_s == pytest.approx(clock.now_s - 0.1)
    assert np.isfinite(belief.sigma_m)


def test_a_thing_at_rest_was_there_at_every_moment_between(memory: Memory, clock: Clock) -> None:
    began_s = clock.now_s
    for _ in range(100):
        memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
        clock.now_s += 2.0
    assert len(list(memory.history("cube"))) == 1, "one row however long it stands"
    was = memory.where_was("cube", began_s + 77.0)
    assert was
    assert was.time_s == began_s + 77.0
    (near,) = memory.near((0.3, 0.1, 0.5), 0.3, between_s=(began_s + 50.5, began_s + 51.0))
    assert near.time_s == began_s + 51.0
    assert memory.near((0.3, 0.1, 0.5), 0.3, between_s=(began_s - 9.0, began_s - 1.0)) == ()
    assert memory.near((0.3, 0.1, 0.5), 0.3, between_s=(clock.now_s, clock.now_s + 9.0)) == ()


def test_nobody_saw_what_was_between_two_sightings_far_apart(memory: Memory, clock: Clock) -> None:
    began_s = clock.now_s
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    clock.now_s += 600.0
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52)])
    was = memory.where_was("cube", began_s + 300.0)
    assert was
    assert was.time_s == began_s


def test_old_sightings_are_forgotten_but_for_the_last_place(
    memory: Memory, clock: Clock, tmp_path: Path
) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52), seen(clock, "cart", 1.0, 0.0, 0.0)])
    clock.now_s += 60.0
    memory.take([seen(clock, "cube", 1.3, 0.1, 0.52)])
    clock.now_s += FORGET_S
    memory.take([seen(clock, "cart", 1.0, 0.0, 0.0)])
    assert [round(s.pose[0], 1) for s in memory.history("cube") if s.pose] == [1.3]
    assert len(memory.near((0.3, 0.1, 0.5), 9.0, between_s=(0.0, clock.now_s))) == 2
    memory.close()
    anew = Memory(tmp_path / "memory.db", THINGS, clock=clock)
    cube = anew.where("cube")
    assert cube
    assert cube.position_m[0] == pytest.approx(1.3), "seen long ago, believed still"
    # What it stood for is gone from the disk; the same place is written down again.
    anew.take([seen(clock, "cart", 1.0, 0.0, 0.0)])
    assert anew.where_was("cart", clock.now_s) is not None


def test_a_clock_set_back_leaves_no_belief_that_cannot_be_corrected(
    memory: Memory, clock: Clock
) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52, relations=("holding(arm, cube)",))])
    clock.now_s -= 3600.0
    since_s = clock.now_s
    assert memory.belief_since("cube", since_s) is None, "nobody has seen it since"
    assert truth(memory, "holding(arm, cube)", since_s) is None
    memory.take([seen(clock, "cube", 1.3, 0.1, 0.52, relations=("not holding(arm, cube)",))])
    cube = memory.belief_since("cube", since_s)
    assert cube
    assert cube.position_m[0] == pytest.approx(1.3)
    assert truth(memory, "holding(arm, cube)", since_s) is False


def test_what_is_seen_from_a_robot_is_believed_where_the_robot_is(
    memory: Memory, clock: Clock
) -> None:
    ahead = seen(clock, "cube", 1.0, 0.0, 0.5, frame="cart")
    memory.take([ahead])
    assert memory.where("cube") is None, "nobody knows where the cart is"
    memory.take([seen(clock, "cart", 2.0, 3.0, 0.0, yaw_rad=math.pi / 2, sigma_m=0.1)])
    memory.take([ahead, seen(clock, "table", 1.0, 0.0, 0.5, frame="arm-7/base")])
    cube = memory.where("cube")
    assert cube
    np.testing.assert_allclose(cube.position_m, [2.0, 4.0, 0.5], atol=1e-9)
    np.testing.assert_allclose(cube.pose[3:], [math.sqrt(0.5), 0, 0, math.sqrt(0.5)], atol=1e-9)
    assert cube.sigma_m > 0.1
    assert memory.where("table") is None, "of a frame that nobody knows"
    memory.take([seen(clock, "cube", 0.1, 0.0, 0.02, frame="table")])
    cube = memory.where("cube")
    assert cube
    np.testing.assert_allclose(cube.position_m, [0.4, 0.0, 0.52], atol=1e-9)


@pytest.mark.parametrize(
    "nonsense",
    ["polished(cube)", "on(cube, moon)", "on(cube)", "at(cart, table)", "on(cart, cube)"],
)
def test_what_nobody_can_observe_is_unknown(memory: Memory, nonsense: str) -> None:
    assert truth(memory, nonsense) is None
    with pytest.raises((UnknownName, InvalidConfig)):
        check_fact(Fact.parse(nonsense), THINGS)


def test_a_predicate_of_ones_own_is_what_a_sensor_says_of_it(memory: Memory, clock: Clock) -> None:
    memory.take([seen(clock, "cube", 0.3, 0.1, 0.52, relations=("polished(cube)",))])
    assert truth(memory, "polished(cube)") is True
    assert Fact.parse("polished(cube)") in memory.symbols().true
    check_fact(Fact.parse("polished(cube)"), THINGS, felt={"polished"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"pose": (0.0, 0.0)},
        {"pose": (0.0, 0.0, math.nan, *UPRIGHT)},
        {"pose": (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)},
        {"sigma_m": -1.0},
        {"time_s": math.inf},
        {"relations": ("holding(",)},
    ],
)
def test_a_sighting_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidConfig):
        Sighting(**{"entity": "cube", "by": "cam", "time_s": 1.0, **wrong})


def test_a_file_that_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedData, match=r"memory\.db is damaged"):
        Memory(tmp_path / "memory.db", THINGS)


def test_a_robot_between_stations_is_astray(memory: Memory, clock: Clock) -> None:
    assert truth(memory, "astray(cart)") is None
    memory.take([seen(clock, "cart", 2.0, 0.0, 0.0)])
    assert truth(memory, "astray(cart)") is True
    assert Fact.parse("astray(cart)") in memory.symbols().true
    memory.take([seen(clock, "cart", 4.0, 0.2, 0.0)])
    assert truth(memory, "astray(cart)") is False
    assert truth(memory, "astray(arm)") is False
