"""The black box: what a robot was asked, what it did and why, one record a control step.

A flight is one chain (:mod:`loopwright.safety.chain`). :mod:`.header` says what is recorded of
whom, :mod:`.fields` what a step is made of, :mod:`.recorder` writes while the robot moves,
:mod:`.rolling` goes on in the next flight, :mod:`.flight` reads, :mod:`.summary` counts,
:mod:`.replay` does it again on the same plant.
"""

from loopwright.safety.blackbox.fields import FIELDS, Field, StepRecord
from loopwright.safety.blackbox.flight import Event, Flight, Note, Snapshot, read_flight
from loopwright.safety.blackbox.header import FlightHeader, require_mandatory
from loopwright.safety.blackbox.recorder import BlackBox
from loopwright.safety.blackbox.replay import ReplayReport, plant_of, replay
from loopwright.safety.blackbox.rolling import RollingBlackBox
from loopwright.safety.blackbox.summary import FlightSummary, summarise

__all__ = [
    "FIELDS",
    "BlackBox",
    "Event",
    "Field",
    "Flight",
    "FlightHeader",
    "FlightSummary",
    "Note",
    "ReplayReport",
    "RollingBlackBox",
    "Snapshot",
    "StepRecord",
    "plant_of",
    "read_flight",
    "replay",
    "require_mandatory",
    "summarise",
]
