"""Three robots, three stations and a few cubes, in symbols: what brains are tested on."""

from __future__ import annotations

from collections.abc import Iterable

from loopwright.robot.journal.fold import RobotState
from loopwright.robot.logic import Fact, Facts, Symbols, conditions
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Parameter, SkillContract

GRIP = tuple(
    Parameter(name=name, kind=kind)
    for name, kind in (("object", "object"), ("surface", "place"), ("station", "place"))
)
WITHIN_REACH = ("at(?surface, ?station)", "at(?robot, ?station)")
PICK = SkillContract(
    name="pick",
    parameters=GRIP,
    requires=conditions("on(?object, ?surface)", "free-hand(?robot)", *WITHIN_REACH),
    ensures=conditions(
        "holding(?robot, ?object)",
        "not on(?object, ?surface)",
        "not free-hand(?robot)",
        "clear(?surface)",
    ),
    resources=("arm", "gripper"),
)
PLACE = SkillContract(
    name="place",
    parameters=GRIP,
    requires=conditions("holding(?robot, ?object)", "clear(?surface)", *WITHIN_REACH),
    ensures=conditions(
        "on(?object, ?surface)", "not holding(?robot, ?object)", "free-hand(?robot)"
    ),
    resources=("arm", "gripper"),
)
DRIVE = SkillContract(
    name="drive",
    parameters=(Parameter(name="start", kind="place"), Parameter(name="goal", kind="place")),
    requires=conditions("at(?robot, ?start)"),
    ensures=conditions("at(?robot, ?goal)", "not at(?robot, ?start)"),
    resources=("base",),
)


def _cube(color: str, chinese: str, number: str = "") -> Thing:
    return Thing(
        name=f"{color}-cube{number}",
        kind="object",
        words={"en": (f"{color} cube",), "zh": (chinese, "方块")},
        properties={"color": color, "shape": "cube"},
    )


def _station(name: str, chinese: str) -> Thing:
    return Thing(
        name=name, kind="station", position_m=(0, 0, 0), radius_m=1, words={"zh": (chinese,)}
    )


THINGS = Things(
    (
        _station("bench", "工作台"),
        _station("door", "门"),
        _station("store", "仓库"),
        Thing(name="table", kind="surface", capacity=6, words={"zh": ("桌子",)}),
        Thing(name="tray", kind="surface", capacity=2, words={"zh": ("托盘", "门")}),
        Thing(name="shelf", kind="surface", capacity=6, words={"zh": ("架子",)}),
        _cube("red", "红色"),
        _cube("blue", "蓝色"),
        _cube("green", "绿色", "-1"),
        _cube("green", "绿色", "-2"),
        Thing(name="arm-1", kind="robot", parts=("arm", "gripper")),
        Thing(name="cart-1", kind="robot", deck_m=(0, 0, 0), parts=("base",)),
        Thing(name="mover-1", kind="robot", parts=("arm", "gripper", "base")),
    )
)
ROBOTS = {
    name: RobotState(
        name=name,
        epoch=1,
        parts=frozenset(THINGS[name].parts),
        skills={contract.name: contract for contract in contracts},
    )
    for name, contracts in {
        "arm-1": (PICK, PLACE),
        "cart-1": (DRIVE,),
        "mover-1": (PICK, PLACE, DRIVE),
    }.items()
}
START = Symbols(
    frozenset(
        Fact.parse(text)
        for text in (
            "at(table, bench)",
            "at(tray, door)",
            "at(shelf, store)",
            "at(arm-1, bench)",
            "at(cart-1, store)",
            "at(mover-1, store)",
            "on(red-cube, table)",
            "on(blue-cube, table)",
            "on(green-cube-1, table)",
            "on(green-cube-2, shelf)",
            "free-hand(arm-1)",
            "free-hand(mover-1)",
            "clear(table)",
            "clear(tray)",
            "clear(shelf)",
            "clear(cart-1)",
        )
    )
)


class FixedMemory:
    """Believes one state."""

    def __init__(self, state: Symbols = START) -> None:
        self.state = state

    def take(self, sightings: Iterable[Sighting]) -> None:
        raise AssertionError("a brain only reads")

    def facts(self, *, since_s: float | None = None) -> Facts:
        return self.state

    def symbols(self) -> Symbols:
        return self.state
