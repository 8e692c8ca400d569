"""What plain instructions mean, and how what they cannot mean is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import START, THINGS

from loopwright.robot.brain.language.meaning import Ambiguous, goal_of
from loopwright.robot.brain.language.wish import NotAllowed, NotUnderstood
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition


def meant(text: str) -> set[str]:
    return {str(c) for c in goal_of(text, THINGS, START)}


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("bring the red cube to the tray by the door", {"on(red-cube, tray)"}),
        ("Please put the blue one on the shelf.", {"on(blue-cube, shelf)"}),
        ("move the green cube on the table to the tray", {"on(green-cube-1, tray)"}),
        ("take the green cube from the shelf to the table", {"on(green-cube-2, table)"}),
        ("put both green cubes on the tray", {"on(green-cube-1, tray)", "on(green-cube-2, tray)"}),
        (
            "put the green cubes in the tray",
            {"on(green-cube-1, tray)", "on(green-cube-2, tray)"},
        ),
        (
            "put the red cube on the shelf and then bring the blue cube to the door",
            {"on(red-cube, shelf)", "on(blue-cube, tray)"},
        ),
        ("put a green cube on the shelf", {"on(green-cube-1, shelf)"}),
        ("pick up the red cube", {"holding(arm-1, red-cube)"}),
        ("send mover-1 to the door", {"at(mover-1, door)"}),
        ("put the red cube on the cart-1", {"on(red-cube, cart-1)"}),
        (
            "put the red cube on the shelf, then put the red cube on the tray",
            {"on(red-cube, tray)"},
        ),
        (
            "put everything on the shelf",
            {f"on({c}, shelf)" for c in ("red-cube", "blue-cube", "green-cube-1", "green-cube-2")},
        ),
        ("red cube -> shelf", {"on(red-cube, shelf)"}),
        ("put teh bleu block on the shlef", {"on(blue-cube, shelf)"}),
        ("mover-1, go to the door", {"at(mover-1, door)"}),
        ("would you mind putting the red cube on the tray", {"on(red-cube, tray)"}),
        ("send the red cube to the door", {"on(red-cube, tray)"}),
        ("two cubes go onto the shelf", {"on(red-cube, shelf)", "on(blue-cube, shelf)"}),
        ("move the cart to the door", {"at(cart-1, door)"}),
        ("I need the green cube that's on the shelf on the table", {"on(green-cube-2, table)"}),
        (
            "take every cube off the table and put it on the shelf",
            {f"on({c}, shelf)" for c in ("red-cube", "blue-cube", "green-cube-1")},
        ),
        (
            "put all cubes but the green ones on the shelf",
            {"on(red-cube, shelf)", "on(blue-cube, shelf)"},
        ),
        (
            "bring the red cube to the tray and the blue one to the shelf",
            {"on(red-cube, tray)", "on(blue-cube, shelf)"},
        ),
        (
            "put the red and the blue cube on the tray",
            {"on(red-cube, tray)", "on(blue-cube, tray)"},
        ),
        (
            "arm-1 should pick up the red cube while mover-1 picks up the blue one",
            {"holding(arm-1, red-cube)", "holding(mover-1, blue-cube)"},
        ),
        (
            "pick up the red cube and the blue cube",
            {"holding(arm-1, red-cube)", "holding(mover-1, blue-cube)"},
        ),
        ("hand the green cube on the shelf to arm-1", {"holding(arm-1, green-cube-2)"}),
        ("give the red cube to the cart", {"on(red-cube, cart-1)"}),
        (
            "swap the red cube and the green cube on the shelf",
            {"on(red-cube, shelf)", "on(green-cube-2, table)"},
        ),
        (
            "send the cart to the bench and put the red cube on it",
            {"at(cart-1, bench)", "on(red-cube, cart-1)"},
        ),
        (
            "load the red cube onto the cart, then send it to the door",
            {"on(red-cube, cart-1)", "at(cart-1, door)"},
        ),
        (
            "make sure there are two cubes on the shelf",
            {"on(green-cube-2, shelf)", "on(red-cube, shelf)"},
        ),
        (
            "send both the cart and mover-1 to the bench",
            {"at(cart-1, bench)", "at(mover-1, bench)"},
        ),
        ("the blue cube belongs on the shelf, not on the table", {"on(blue-cube, shelf)"}),
        ("the red cube has to be delivered to the tray by the door", {"on(red-cube, tray)"}),
        ("Can I get the red cube on the tray?", {"on(red-cube, tray)"}),
        ("let's have the cart waiting at the door", {"at(cart-1, door)"}),
        ("I'd like mover-1 to be holding the red cube", {"holding(mover-1, red-cube)"}),
        ("the tray should have the red cube on it", {"on(red-cube, tray)"}),
        ("mover-1 needs the red cube", {"holding(mover-1, red-cube)"}),
        (
            "exactly two green cubes should end up on the tray, doesn't matter which",
            {"on(green-cube-1, tray)", "on(green-cube-2, tray)"},
        ),
        ("能不能把红色方块送到托盘那儿？", {"on(red-cube, tray)"}),
        ("随便拿一个绿色方块放到架子上", {"on(green-cube-1, shelf)"}),
        ("红色方块应该放在架子上才对", {"on(red-cube, shelf)"}),
        ("把红色方块放到门边的托盘上", {"on(red-cube, tray)"}),
        ("把桌上的绿色方块搬到架子上，谢谢", {"on(green-cube-1, shelf)"}),
        ("拿起红色方块，然后把它放到托盘上", {"on(red-cube, tray)"}),
        ("把红色方块和蓝方块都放到托盘上", {"on(red-cube, tray)", "on(blue-cube, tray)"}),
        ("把两个绿色方块都放到托盘上", {"on(green-cube-1, tray)", "on(green-cube-2, tray)"}),
        ("请将蓝色方块搬到架子上。", {"on(blue-cube, shelf)"}),
        (
            "把两个绿色方块放到托盘上",
            {"on(green-cube-1, tray)", "on(green-cube-2, tray)"},
        ),
        (
            "把红色方块放到架子上，然后把蓝色方块放到托盘上",
            {"on(red-cube, shelf)", "on(blue-cube, tray)"},
        ),
    ],
)  # fmt: skip
def test_an_instruction_means(text: str, goal: set[str]) -> None:
    assert meant(text) == goal


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("put the green cube on the tray", Ambiguous, "green-cube-1 or green-cube-2"),
        ("put the cube on the tray", Ambiguous, "say which"),
        ("put the banana on the tray", NotUnderstood, "no 'banana'"),
        ("put the bed cube on the tray", NotUnderstood, "no 'bed'"),
        ("don't put the red cube on the tray", NotUnderstood, "shall not be"),
        ("put the red cube on the tray if it is empty", NotUnderstood, "conditions"),
        ("should the red cube be on the tray?", NotUnderstood, "question"),
        ("put all cubes on the shelf, not the red one", NotUnderstood, "shall not be"),
        ("put the red cube, not on the shelf", NotUnderstood, "shall not be"),
        ("put the red cube on the shelf, not on monday", NotUnderstood, "shall not be"),
        (
            "put the red cube on the shelf, not on the table but the tray",
            NotUnderstood,
            "shall not be",
        ),
        ("the cart has the red cube", NotUnderstood, "no verb"),
        ("the red cube was moved to the tray", NotUnderstood, "moved"),
        ("the cart is waiting at the door", NotUnderstood, "no verb"),
        ("leave the cubes alone", NotUnderstood, "where to"),
        ("I put the red cube on the tray", NoPlan, "no 'i'"),
        ("bring the red cube to the tray at 5", NotUnderstood, "no place"),
        ("put the two cubes on the shelf", Ambiguous, "any of"),
        ("put some cubes on the shelf", Ambiguous, "how many"),
        ("move it to the door", Ambiguous, "'it' could be anything"),
        ("get the red cube", Ambiguous, "where to"),
        ("drive to the door", Ambiguous, "cart-1 or mover-1"),
        (
            "put the red cube on the cart-1 and bring it to the door",
            Ambiguous,
            "red-cube or cart-1",
        ),
        ("put the arm-1 on the tray", NoPlan, "no object"),
        ("drive cart-1 into mover-1", NotAllowed, "do not collide"),
        ("turn off the guards and bring the red cube to the tray", NotAllowed, "guards"),
        (
            "send mover-1 to the door and then send mover-1 to the bench",
            NoPlan,
            "one after the other",
        ),
        ("have cart-1 bring the red cube to the tray", NoPlan, "no hand"),
        ("不要把红色方块放到托盘上", NotUnderstood, "negations"),
        ("把几个方块放到架子上", Ambiguous, "how many"),
        ("run over somebody with the cart-1", NotAllowed, "do not"),
        ("让小车撞机械臂", NotAllowed, "collide"),
        ("juggle the cubes", NotUnderstood, "no verb that is known"),
        ("put the red cube", NotUnderstood, "where to"),
        ("", NotUnderstood, "nothing is asked for"),
        ("put three green cubes on the tray", NoPlan, "there are 2 of 'green cube'"),
        ("put everything on the tray", NoPlan, "room for 2"),
        ("put the red cube on the blue cube", NoPlan, "no surface"),
        ("move the green cube on the tray to the shelf", NoPlan, "there is no object"),
        ("throw the red cube to the door", NotAllowed, "do not throw"),
        ("ignore the speed limit and bring the red cube to the tray", NotAllowed, "limits"),
        ("hit the worker by the door", NotAllowed, "do not"),
        ("把香蕉放到托盘上", NotUnderstood, "香蕉"),
        ("把绿色方块放到托盘上", Ambiguous, "green-cube-1 or green-cube-2"),
        ("把红色方块扔到门边", NotAllowed, "do not throw"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    text: str, error: type[NoPlan], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        meant(text)


WORDS = "put bring the red cubes two all on to tray by door and then , . 把 红色 方块 放到 托盘"
TEXTS = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(st.text(max_size=60) | TEXTS)
def test_any_text_is_a_goal_or_a_refusal_in_words(text: str) -> None:
    goal: tuple[Condition, ...] = ()
    refusal = ""
    try:
        goal = goal_of(text, THINGS, START)
    except NoPlan as error:
        refusal = str(error)
    assert bool(goal) != bool(refusal)
    assert all(a in THINGS for c in goal for a in c.fact.args)
