"""First rung: is the request N finite numbers, and recent? Anything else is no request at all."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits


class Sanitise:
    """Reads requests into float64. Nothing of a foreign object but plain arrays is ever called."""

    def __init__(self, limits: Limits) -> None:
        """Note the oldest age."""
        self._stale_s = limits.stale_s

    def read(self, request: object, time_s: object, command: np.ndarray, now: Situation) -> Reason:
        """Write the request into ``command``; if it is none, the wish to stand still.

        Efforts are kept then: a gripper that lets go drops what it holds.
        """
        reason = self._judge(request, time_s, now)
        if reason is Reason.UNALTERED:
            np.copyto(command, request)  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            np.multiply(now.previous, ~now.is_speed, out=command)
        return reason

    def _judge(self, request: object, time_s: object, now: Situation) -> Reason:
        if not is_array(request, now.previous.shape):
            return Reason.MALFORMED
        if not np.isfinite(request).all():
            return Reason.NOT_FINITE
        # A time that is no number, or lies in the future, comes from a clock that is not ours.
        age_s = now.measured.time_s - time_s if isinstance(time_s, float) else np.nan
        return Reason.UNALTERED if abs(age_s) <= self._stale_s else Reason.STALE


def is_array(value: object, shape: tuple[int, ...]) -> TypeGuard[np.ndarray]:
    """Tell whether a value is a plain array of that shape, of numbers that float64 can hold.

    Lists and subclasses are not: converting them may run foreign code.
    """
    return (
        type(value) is np.ndarray
        and value.shape == shape
        and value.dtype.kind in ("f", "i", "u")
        and value.dtype.itemsize < 16
    )


def are_numbers(value: object, shape: tuple[int, ...]) -> bool:
    """Tell whether a value is such an array, and finite."""
    return is_array(value, shape) and bool(np.isfinite(value).all())
