"""Which process: a pid means something only with its machine, its boot and its start time."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """A process that can be recognised later, even when its pid has been given to another."""

    host: str
    boot_id: str
    pid: int
    started: str
    """When it started, in the system's own words; empty if it had ended already."""

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Identify a process of this machine."""
        return cls(host=platform.node(), boot_id=_boot_id(), pid=pid, started=_started(pid))

    def is_alive(self) -> bool:
        """Tell whether this very process still runs on this machine.

        One of another machine, or of an earlier boot, counts as gone.
        """
        return bool(self.started) and self == ProcessIdentity.of(self.pid)


@cache
def _boot_id() -> str:
    linux = Path("/proc/sys/kernel/random/boot_id")
    if linux.exists():
        return linux.read_text(encoding="ascii").strip()
    return _said_by("sysctl", "-n", "kern.boottime")


def _started(pid: int) -> str:
    if not Path("/proc/self/stat").exists():
        return _said_by("ps", "-o", "lstart=", "-p", str(pid))
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the command in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else started


def _said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
