"""How a guard finds out that an operator has released it: by looking itself, trusting nobody."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import DamagedData, Untrusted
from loopwright.safety.guard.stops import Stop, find_release, newest_stop, read_stop_log
from loopwright.safety.keys import KeyRing

LOOK_EVERY_S = 0.2


class Releases:
    """The stop log and the releases of a cell, read at most every :data:`LOOK_EVERY_S`."""

    def __init__(self, stop_log: Path, folder: Path, ring: KeyRing) -> None:
        """Look in these places, and trust the operators on this ring."""
        self._stop_log, self._folder, self._ring = stop_log, folder, ring
        self._looked_s = float("-inf")
        self.refused = ""
        """Why the newest release was not accepted; empty where there was none, or it was."""

    def of(self, number: int, now_s: float) -> tuple[Stop, str] | None:
        """Return a released stop and the operator's name, or None if it is not released (yet).

        Args:
            number: The newest stop, as the line says.
            now_s: The time.
        """
        if now_s - self._looked_s < LOOK_EVERY_S:
            return None
        self._looked_s = now_s
        try:
            stop = newest_stop(read_stop_log(self._stop_log)[0])
            if stop is None or stop.number != number:
                return None
            holder = find_release(self._folder, stop, self._ring)
        except (Untrusted, DamagedData) as error:
            self.refused = str(error)
            return None
        self.refused = ""
        return None if holder is None else (stop, holder.person)
