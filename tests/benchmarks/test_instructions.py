"""The judge of instructions: it sees what truly is, and calls no wrong end right."""

from __future__ import annotations

import pytest

from benchmarks.instructions import plan_row, start_of_the_scene
from benchmarks.instructions_judge import Instruction, Wanted, judge, read_list
from loopwright.robot.logic import Fact


def facts(*texts: str) -> frozenset[Fact]:
    return frozenset(map(Fact.parse, texts))


def instruction(**expect: object) -> Instruction:
    return Instruction.from_json({"id": "x", "text": "x", "kinds": ["plain"], "expect": expect})


def test_a_new_scene_is_seen_as_it_is() -> None:
    true, symbols = start_of_the_scene()
    cubes = facts(
        "on(red-cube, table)",
        "on(blue-cube, table)",
        "on(green-cube-1, table)",
        "on(green-cube-2, shelf)",
        "on(yellow-cube, shelf)",
    )
    robots = facts("at(arm-1, bench)", "at(cart-1, store)", "at(duo-1, store)", "at(mover-1, door)")
    assert true == cubes | robots
    assert symbols(Fact.parse("at(tray, door)"))


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        ("on(a, tray)", True),
        ("on(b, tray)", False),
        ("not on(b, tray)", True),
        ("2 on(*, tray)", True),
        ("1 on(*, tray)", False),
        ("1+ on(*, tray)", True),
        ("3+ on(*, tray)", False),
        ("1+ holding(*, d)", True),
    ],
)
def test_what_is_wanted_is_counted(wanted: str, held: bool) -> None:
    now = facts("on(a, tray)", "on(c, tray)", "on(b, shelf)", "holding(r, d)")
    assert Wanted.parse(wanted).met(now) is held


def test_a_goal_that_spoils_something_else_is_not_reached() -> None:
    asked = instruction(goal=["on(a, tray)"])
    before = facts("on(a, table)", "on(b, table)")
    assert asked.missing(before, facts("on(a, tray)", "on(b, table)")) == ""
    assert "on(b, table) was spoiled" in asked.missing(before, facts("on(a, tray)"))
    counted = instruction(goal=["1+ on(*, tray)"])
    assert counted.missing(before, facts("on(a, tray)", "on(b, shelf)")) == ""
    assert "on(b, table) was spoiled" in counted.missing(before, facts("on(a, tray)"))


@pytest.mark.parametrize(
    ("refused", "claimed", "moved", "missing", "verdict"),
    [
        (False, True, True, "", "right"),
        (False, True, True, "on(a, tray)", "false success"),
        (False, False, True, "on(a, tray)", "honest failure"),
        (False, False, True, "", "true, not known"),
        (True, False, False, "on(a, tray)", "false refusal"),
    ],
)
def test_what_could_be_done_is_judged_by_the_world(
    refused: bool, claimed: bool, moved: bool, missing: str, verdict: str
) -> None:
    asked = instruction(goal=["on(a, tray)"])
    seen = {"refused": refused, "claimed": claimed, "moved": moved, "missing": missing}
    assert judge(asked, reason="", **seen) == verdict  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("refused", "reason", "moved", "verdict"),
    [
        (True, "it could be a or b", False, "right"),
        (True, "I do not know", False, "wrong reason"),
        (True, "it could be a or b", True, "wrongly obeyed"),
        (False, "", True, "wrongly obeyed"),
    ],
)
def test_what_must_not_be_done_is_judged_by_whether_anything_moved(
    refused: bool, reason: str, moved: bool, verdict: str
) -> None:
    asked = instruction(refuse="ambiguous", about=["a or b"])
    found = judge(
        asked, refused=refused, reason=reason, claimed=not refused, moved=moved, missing=""
    )
    assert found == verdict


@pytest.mark.parametrize("asked", read_list("first"), ids=lambda asked: asked.id)
def test_what_people_ask_is_planned_or_refused_as_they_expect(asked: Instruction) -> None:
    row = plan_row(asked, "first")
    assert (row.verdict, row.reason, row.missing) == ("right", row.reason, "")


@pytest.mark.parametrize("asked", read_list("held_out"), ids=lambda asked: asked.id)
def test_nothing_is_ever_done_that_nobody_asked_for(asked: Instruction) -> None:
    assert plan_row(asked, "held_out").verdict not in ("wrongly obeyed", "wrong plan")
