"""The parts that a guard is made of, as functions that a configuration names.

A configuration crosses processes as plain data, so it says how to make a part, not what it is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loopwright.core.stage import environment_digest
from loopwright.safety.blackbox.header import NONE, FlightHeader
from loopwright.safety.blackbox.recorder import BlackBox
from loopwright.safety.blackbox.rolling import RollingBlackBox
from loopwright.safety.body import Body, BodySpec, RobotEntry
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.watch import DirectiveWatch, WatchConfig
from loopwright.safety.guard.ports import Leave
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.ladder.filter import SafetyFilter
from loopwright.safety.limits import Limits


def make_ladder(*, body: Body, limits: Mapping[str, Any]) -> SafetyFilter:
    """Make the whole ladder.

    Args:
        body: Of the robot.
        limits: As :meth:`Limits.to_json` returns them.

    Raises:
        InvalidConfig: The limits are not of that body.
    """
    return SafetyFilter(body, Limits.from_json(limits))


def make_black_box(
    *,
    robot: str,
    entry: RobotEntry,
    spec: BodySpec,
    filter_digest: str,
    folder: str,
    key: str,
    limits: Mapping[str, Any],
    **said: str,
) -> BlackBox:
    """Begin a flight in a new file, ``ROBOT-DATE.flight``.

    Args:
        robot: Name within the cell.
        entry: How to come by the robot.
        spec: Of the robot.
        filter_digest: Of the filter.
        folder: Where flights lie.
        key: File with the recorder's private key.
        limits: Of the filter.
        **said: ``instruction``, ``candidate`` and ``certificate`` (digests), ``second_place``,
            ``continues`` (id of the flight before).

    Raises:
        RecorderLost: The operating system refused.
    """
    header = FlightHeader(
        robot_id=robot,
        robot=entry,
        body=spec,
        candidate=said.get("candidate", NONE),
        certificate=said.get("certificate", NONE),
        filter=filter_digest,
        limits=limits,
        instruction=said.get("instruction", NONE),
        build=environment_digest(),
        continues=said.get("continues", NONE),
    )
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    second_place = said.get("second_place")
    return BlackBox(
        Path(folder) / f"{robot}-{date}.flight",
        header,
        SigningKey.read(Path(key)),
        None if second_place is None else Path(second_place),
    )


def make_rolling_black_box(*, every_s: float, **box: Any) -> RollingBlackBox:
    """Begin flight after flight, so that old ones can be moved away while the robot works.

    Args:
        every_s: How long a flight becomes, in seconds.
        **box: As for :func:`make_black_box`.

    Raises:
        RecorderLost: The operating system refused.
    """
    return RollingBlackBox(lambda before: make_black_box(continues=before, **box), every_s)


class DirectiveLeave:
    """A directive watch, as a guard asks for it."""

    def __init__(self, watch: DirectiveWatch) -> None:
        """Wrap it."""
        self._watch = watch

    def poll(self, now_s: float) -> Leave:
        """Say how things stand."""
        standing = self._watch.poll(now_s)
        return Leave(
            reason=standing.reason,
            detail=standing.detail,
            epoch=standing.epoch,
            lease_left_s=standing.lease_until_s - time.clock_gettime(time.CLOCK_BOOTTIME),
        )


def make_directive_watch(
    *,
    robot: str,
    register: str,
    ring: str,
    deployment: Mapping[str, Any],
    memory: str | None = None,
    obeys: Sequence[Mapping[str, Any]] = (),
) -> DirectiveLeave:
    """Watch a register for a deployment.

    Args:
        robot: Name within the cell.
        register: Its folder.
        ring: Key ring file.
        deployment: As :meth:`Deployment.to_json` returns it.
        memory: Folder that remembers how far the register had come.
        obeys: Restrictions that the limits of the filter keep already; any other one grounds.

    Raises:
        DamagedData: There is no register.
        Untrusted: It does not hold.
    """
    config = WatchConfig(
        memory=None if memory is None else Path(memory), obeys=tuple(dict(one) for one in obeys)
    )
    told = Deployment.from_json(deployment)
    return DirectiveLeave(DirectiveWatch(Path(register), KeyRing.read(Path(ring)), told, config))
