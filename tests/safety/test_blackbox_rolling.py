"""A recording goes on in the next flight, and no step is lost between two."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from double_integrator import SIZE, Masses, flight_header, step_record

from loopwright.core.errors import RecorderLost
from loopwright.safety.blackbox import BlackBox, Flight, read_flight
from loopwright.safety.blackbox import rolling as rolling_module
from loopwright.safety.blackbox.header import NONE
from loopwright.safety.blackbox.rolling import CHANNEL, RollingBlackBox
from loopwright.safety.chain import verify_chain
from loopwright.safety.keys import Holder, KeyRing, SigningKey

KEY = SigningKey.new()
RING = KeyRing([Holder(person="recorder 7", public=KEY.public, roles=frozenset({"recorder"}))])
STILL = Masses().reset(0)
ZEROS = np.zeros(SIZE)


class Flights:
    """Begins flights in a folder, unless told that there is trouble."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trouble = folder, ""
        self.boxes: list[BlackBox] = []

    def begin(self, continues: str) -> BlackBox:
        if self.trouble:
            raise RecorderLost(self.trouble)
        path = self.folder / f"{len(self.boxes):03}.flight"
        self.boxes.append(BlackBox(path, flight_header(continues=continues), KEY))
        return self.boxes[-1]

    def read(self) -> list[Flight]:
        return [read_flight(path) for path in sorted(self.folder.glob("*.flight"))]

    def numbers(self) -> list[int]:
        """Of the steps that were recorded, flight after flight."""
        return list(chain(*(flight.steps["sequence"].tolist() for flight in self.read())))


@pytest.fixture
def flights(tmp_path: Path) -> Flights:
    return Flights(tmp_path)


def step_until(box: RollingBlackBox, done: Callable[[], bool], *, first: int = 0) -> int:
    """Step until something is so; returns the number of the next step."""
    until_s = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < until_s
        box.step(step_record(first, ZEROS, STILL))
        first += 1
        time.sleep(0.001)
    return first


def test_steps_go_on_in_the_next_flight_and_each_is_in_one(flights: Flights) -> None:
    box = RollingBlackBox(flights.begin, every_s=0.05)
    steps = step_until(box, lambda: len(flights.boxes) == 4)
    box.close()
    box.close()
    found = flights.read()
    assert flights.numbers() == list(range(steps))
    assert all(len(flight.steps) for flight in found[:3])
    before = [NONE, *(flight.id for flight in found)]
    assert [flight.header.continues for flight in found] == before[:4]
    for flight, after in pairwise(found[:3]):
        assert flight.notes[-1].channel == CHANNEL
        assert after.path.name in flight.notes[-1].text
        assert after.id in flight.notes[-1].text
    for flight in found:
        assert verify_chain(flight.path, RING).verdict == "intact"


def test_a_flight_that_is_over_can_be_moved_away(flights: Flights, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    box = RollingBlackBox(flights.begin, every_s=0.05)
    steps = step_until(box, lambda: len(flights.boxes) == 3)
    flights.boxes[0].path.rename(tmp_path / "away" / "000.flight")
    step_until(box, lambda: len(flights.boxes) == 5, first=steps)
    box.close()


def test_while_no_flight_can_be_begun_the_present_one_goes_on(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling_module, "AGAIN_S", 0.05)
    box = RollingBlackBox(flights.begin, every_s=0.05)
    flights.trouble = "no space is left"
    steps = step_until(box, lambda: any("no space" in n.text for n in flights.read()[0].notes))
    flights.trouble = ""
    steps = step_until(box, lambda: len(flights.boxes) == 2, first=steps)
    box.close()
    assert flights.numbers() == list(range(steps))


class LateWorker:
    """A thread that does all its work while somebody looks whether it is alive."""

    def __init__(self, *, target: Callable[[], None], **_: object) -> None:
        self._target = target

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        self._target()
        return False

    def join(self) -> None:
        pass


def test_a_flight_that_is_begun_between_two_looks_is_the_next_and_the_only_one(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = RollingBlackBox(flights.begin, every_s=0.05)
    monkeypatch.setattr(rolling_module, "threading", SimpleNamespace(Thread=LateWorker))
    time.sleep(0.06)
    for number in range(4):  # it is asked for, begun, taken over, and the one before is closed
        box.step(step_record(number, ZEROS, STILL))
    monkeypatch.undo()
    box.close()
    assert [len(flight.steps) for flight in flights.read()] == [2, 2]


def test_a_first_flight_that_cannot_be_begun_is_an_error(flights: Flights) -> None:
    flights.trouble = "no space is left"
    with pytest.raises(RecorderLost, match="no space"):
        RollingBlackBox(flights.begin, every_s=1.0)


def test_a_flight_that_cannot_be_closed_is_raised_at_a_later_step(
    flights: Flights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RecorderLost("the final head could not be stored")

    box = RollingBlackBox(flights.begin, every_s=0.05)
    monkeypatch.setattr(flights.boxes[0], "close", refuse)
    with pytest.raises(RecorderLost, match=r"000\.flight could not be closed"):
        step_until(box, lambda: False)
    monkeypatch.undo()
    flights.boxes[0].close()


def test_notes_of_other_threads_reach_one_flight_or_the_next(flights: Flights) -> None:
    box = RollingBlackBox(flights.begin, every_s=0.02)
    said = 0

    def note_and_ask() -> bool:
        nonlocal said
        box.note("operator", str(said))
        said += 1
        return len(flights.boxes) == 6

    step_until(box, note_and_ask)
    box.close()
    heard = [n.text for f in flights.read() for n in f.notes if n.channel == "operator"]
    assert heard == [str(number) for number in range(said)]
