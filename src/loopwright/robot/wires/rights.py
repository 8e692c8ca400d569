"""Who may say what on the bus: one table by role, and nobody but the coordinator for another."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.robot import messages as say
from loopwright.safety.keys import Holder, Role

MAY_SAY: Mapping[Role, tuple[type[say.Message], ...]] = {
    "coordinator": (
        *(say.CoordinatorPulse, say.Welcome, say.RunSkill, say.CancelSkill, say.Inquire, say.Look),
        *(say.Stop, say.Release),
    ),
    "robot": (
        *(say.Joined, say.RobotPulse, say.Started, say.Ended, say.Standing, say.Seen),
        say.Stop,
    ),
    "camera": (say.Seen,),
    "operator": (say.Stop,),
}
"""Whoever has a part in the work may stop it. Who is not here (an observer) says nothing."""


def may_say(holder: Holder, message: say.Message) -> bool:
    """Tell whether a message is the holder's to say: of a kind of its role, in its own name."""
    kinds = tuple(kind for role in holder.roles for kind in MAY_SAY.get(role, ()))
    if not isinstance(message, kinds):
        return False
    # The coordinator passes on what somebody pressed or released, over whichever door.
    return "coordinator" in holder.roles or _in_the_name_of(message) == holder.person


def reporter(message: say.Message) -> str | None:
    """Return in whose name a report is; None for what is no report."""
    return None if isinstance(message, (say.Stop, say.Release)) else _in_the_name_of(message)


def _in_the_name_of(message: say.Message) -> str | None:
    return getattr(message, "robot", getattr(message, "by", None))
