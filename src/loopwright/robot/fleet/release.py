"""Releases that come from outside, checked before anything is written down or told.

A release holds signed statements, one a stop. It is good for those stops only that hold now and
that an operator of the key ring has signed for; every press is another stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from loopwright.core.errors import DamagedData, InvalidConfig, Untrusted
from loopwright.robot.latch import RELEASE, RobotStop, read_releases
from loopwright.safety.guard.stops import RELEASE as LINE_RELEASE
from loopwright.safety.guard.stops import Stop
from loopwright.safety.keys import KeyRing
from loopwright.safety.statement import Signed


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedRelease:
    """What a release is good for."""

    robots: tuple[str, ...]
    """Robots whose stop it ends."""
    line: Signed | None
    """The statement that ends the stop of the guards' line; None if none does."""
    left: tuple[str, ...]
    """What stays stopped, for people: robots, and the line of the guards."""


def check_release(
    text: str, stops: Iterable[RobotStop], line: Stop | None, ring: KeyRing
) -> CheckedRelease:
    """Return what a release is good for.

    Args:
        text: What :func:`~loopwright.robot.latch.write_releases` returned.
        stops: Those of robots that hold now.
        line: That of the guards' line, if it holds now.
        ring: Who may release.

    Raises:
        InvalidConfig: It is no release, or nothing in it is signed.
        Untrusted: It is about no stop that holds now, or not signed by an operator.
    """
    signed = _read(text)
    ended, left = [], []
    for stop in stops:
        about = {"stop": stop.digest}
        (ended if _signed_for(signed, RELEASE, about, ring) else left).append(stop.robot)
    raised = None
    if line is not None:
        raised = _signed_for(signed, LINE_RELEASE, {"stop": line.digest}, ring)
        if raised is None:
            left.append("the line of the guards")
        elif raised.statement.predicate.get("number") != line.number:
            raise Untrusted(f"the release of stop {line.number} bears another number")
    if not ended and raised is None:
        held = ", ".join(left) or "nothing is stopped"
        raise Untrusted(
            f"this release ends no stop that holds now ({held}); every press is another stop, "
            "so sign for the newest"
        )
    return CheckedRelease(robots=tuple(ended), line=raised, left=tuple(left))


def _read(text: str) -> tuple[Signed, ...]:
    try:
        signed = read_releases(text)
    except DamagedData as error:
        raise InvalidConfig(str(error)) from error
    if not signed:
        raise InvalidConfig("this release holds nothing that anybody has signed")
    return signed


def _signed_for(
    signed: Iterable[Signed], kind: str, about: dict[str, str], ring: KeyRing
) -> Signed | None:
    for one in signed:
        if one.statement.kind == kind and dict(one.statement.subjects) == about:
            one.require(ring, "operator")
            return one
    return None
