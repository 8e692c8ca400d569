"""A model that plans over HTTP: believed only as far as its plan holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from small_world import ROBOTS, START, THINGS, FixedMemory
from stub_endpoint import Model, stub_endpoint

from loopwright.core.errors import InvalidConfig
from loopwright.robot.brain.endpoint import Endpoint, EndpointBrain, EndpointUnreachable
from loopwright.robot.knowledge import NoPlan, Problem

HAND_OVER = {
    "goal": ["on(red-cube, cart-1)"],
    "steps": [
        {"id": "a", "robot": "cart-1", "skill": "drive",
         "values": {"start": "store", "goal": "bench"}},
        {"id": "b", "robot": "arm-1", "skill": "pick",
         "values": {"object": "red-cube", "surface": "table", "station": "bench"}},
        {"id": "c", "robot": "arm-1", "skill": "place", "after": ["a", "b"],
         "values": {"object": "red-cube", "surface": "cart-1", "station": "bench"}},
    ],
}  # fmt: skip
ROBOOS = {
    "reasoning_explanation": "the cart waits while the arm loads it",
    "subtask_list": [
        {"robot_name": "cart-1", "subtask": "drive(store, bench)", "subtask_order": 1},
        {"robot_name": "arm-1", "subtask": "pick up the red cube", "subtask_order": 2},
        {"robot_name": "arm-1", "subtask": "put the red cube on cart-1", "subtask_order": 3},
    ],
}


@pytest.fixture
def model() -> Iterator[Model]:
    with stub_endpoint() as server:
        yield server


def planned(model: Model, *replies: object) -> Any:
    model.replies = [r if isinstance(r, str) else json.dumps(r) for r in replies]
    brain = EndpointBrain(Endpoint(base_url=model.url, model="m"), THINGS)
    try:
        return brain.plan(
            Problem(instruction="load it", goal=(), robots=ROBOTS, memory=FixedMemory(START))
        )
    finally:
        brain.close()


@pytest.mark.parametrize(
    "reply",
    [
        HAND_OVER,
        f"Here is my plan:\n```json\n{json.dumps(HAND_OVER)}\n```\nGood luck!",
        ROBOOS,
        f"```json\n{json.dumps(ROBOOS)}\n```",
    ],
)
def test_a_plan_that_holds_is_taken(model: Model, reply: object) -> None:
    graph = planned(model, reply)
    assert [s.robot for s in graph.steps] == ["cart-1", "arm-1", "arm-1"]
    assert "on(red-cube, cart-1)" in {str(c) for c in graph.goal}
    question = json.loads(model.heard[0]["messages"][1]["content"])
    assert question["robots"]["arm-1"]["pick"]["requires"]
    assert "on(red-cube, table)" in question["holds_now"]


def test_a_plan_that_does_not_hold_is_asked_for_again_with_the_reason(model: Model) -> None:
    wrong = {**HAND_OVER, "steps": HAND_OVER["steps"][1:]}
    wrong["steps"] = [dict(s) for s in wrong["steps"]]
    wrong["steps"][1]["after"] = ["b"]
    graph = planned(model, wrong, HAND_OVER)
    assert len(graph.steps) == 3
    assert "not at(cart-1, bench)" in model.heard[1]["messages"][-1]["content"]


def test_a_plan_that_never_holds_is_repaired_in_symbols(model: Model) -> None:
    hopeless = {"goal": ["on(red-cube, tray)"], "steps": []}
    graph = planned(model, hopeless, hopeless)
    assert "repaired" in graph.reading
    assert graph.steps


@pytest.mark.parametrize(
    ("replies", "error", "reason"),
    [
        (({"goal": [], "steps": [], "refusal": "that is dangerous"},), NoPlan, "dangerous"),
        (("I would rather not.",) * 2, NoPlan, "no JSON object"),
        (({"goal": [], "steps": [{"id": 1}]},) * 2, NoPlan, "no plan"),
        (({"subtask_list": [{"robot_name": "x", "subtask": "y", "subtask_order": 1}]},) * 2,
         NoPlan, "'x'; at work"),
        (("500",), EndpointUnreachable, "gave no plan"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused(
    model: Model, replies: tuple, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        planned(model, *replies)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="expected http"):
        Endpoint(base_url="localhost:8000", model="m")
