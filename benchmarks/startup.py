"""How long the command takes to say hello, in CPU-seconds of a fresh process.

Targets: ``import loopwright`` and ``loopwright --help`` in less than 0.3 s. The bare interpreter
stands beside them: what it takes cannot be saved here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.harness import Benchmark, Measurement

COMMAND = str(Path(sys.executable).parent / "loopwright")
CASES = (
    ("import loopwright", [sys.executable, "-c", "import loopwright"], "< 0.3"),
    ("loopwright --help", [COMMAND, "--help"], "< 0.3"),
    ("loopwright run --help", [COMMAND, "run", "--help"], ""),
    ("loopwright list", [COMMAND, "list"], ""),
)
BARE = [sys.executable, "-c", "pass"]


def cpu_s(command: list[str]) -> float:
    """Return user and system CPU-seconds of one run of a command, its output thrown away.

    Raises:
        RuntimeError: The command failed.
    """
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=nowhere)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with the status {status}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    with Benchmark("startup", "Starting up") as bench:
        repeats = 5 if bench.quick else 20
        bare = min(cpu_s(BARE) for _ in range(repeats))
        for metric, command, target in bench.track(CASES, "starting"):
            cpu_s(command)  # once unseen, so that byte code is written and files are in memory
            runs = sorted(cpu_s(command) for _ in range(repeats))
            bench.add(
                Measurement(
                    metric=f"{metric}, best run",
                    value=runs[0],
                    unit="s CPU",
                    interval=(runs[0], runs[-1]),
                    n=repeats,
                    compared_with=f"bare interpreter {bare:.3f} s",
                    target=target,
                )
            )
        bench.note("Intervals are the fastest and the slowest run.")


if __name__ == "__main__":
    main()
