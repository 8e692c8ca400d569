"""How long skills take: what the journal measured, else what their contracts expect."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from statistics import median

from loopwright.robot.journal.fold import IntentState
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import Value

REMEMBERED = 32
"""So many of the newest attempts count: a robot that grew slower is believed soon."""
SHARE_OF_LONGEST = 0.25
"""What is expected of a skill that says nothing and was never seen: its longest is a bound that it
should never come near."""
LEAST_S = 0.01
"""Nothing takes no time."""

_Key = tuple[str | None, str, tuple[Value, ...] | None]


class Durations:
    """The median of what attempts took, by robot, skill and places, or by less of it.

    What counts is the time from the order until the outcome was known, for so long were robot and
    resources taken. Only attempts that succeeded count.
    """

    def __init__(self, intents: Iterable[IntentState] = ()) -> None:
        """Learn from attempts of the past, the oldest first."""
        self._took_s: dict[_Key, deque[float]] = {}
        for intent in intents:
            self.learn(intent)

    def learn(self, intent: IntentState) -> None:
        """Take an attempt into account, if it succeeded."""
        if intent.outcome != "succeeded" or intent.ended_s is None:
            return
        took_s = intent.ended_s - intent.issued_s
        if took_s < 0.0:
            return  # somebody has set the clock
        for key in _keys(intent.robot, intent.contract, intent.values):
            self._took_s.setdefault(key, deque(maxlen=REMEMBERED)).append(took_s)

    def expected_s(self, robot: str, contract: SkillContract, values: Mapping[str, Value]) -> float:
        """Return how long a robot will take for a skill, in seconds."""
        for key in _keys(robot, contract, values):
            if measured := self._took_s.get(key):
                return max(LEAST_S, median(measured))
        if contract.expected_s is not None:
            return contract.expected_s
        return SHARE_OF_LONGEST * contract.longest_s


def _keys(robot: str, contract: SkillContract, values: Mapping[str, Value]) -> Iterator[_Key]:
    """Yield what an attempt may be compared by, the most alike first."""
    places = tuple(values[p.name] for p in contract.parameters if p.kind == "place")
    if places:
        yield robot, contract.name, places
    yield robot, contract.name, None
    if places:
        yield None, contract.name, places
    yield None, contract.name, None
