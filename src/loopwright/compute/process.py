"""One child process per attempt: whatever dies, nothing but the attempt is lost.

Process pools are not used: killing one worker breaks or hangs the whole pool.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from loopwright.compute.child import ERROR_NAME, RECEIPT_NAME
from loopwright.core.errors import Infeasible, StageCrashed, StageFailed
from loopwright.core.stage import ProgressSink, Receipt, Resources, Site, StageSpec, StartSink

LOG_NAME = "log.txt"
_LOG_TAIL_BYTES = 2000


class ProcessExecutor:
    """Runs each stage in a fresh child process of this machine."""

    def __init__(self, *, capacity: Resources | None = None) -> None:
        """Set up the executor; what this machine offers is found out unless given."""
        self._capacity = capacity or local_capacity()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, spec: StageSpec, site: Site, *, on_start: StartSink | None = None) -> Receipt:
        """Run one stage to its end in a child process.

        Raises:
            Infeasible: This machine does not offer the resources.
            StageCrashed: The child died; the message has the signal and the end of its log.
            StageFailed: The function raised; the message carries the error.
        """
        check_feasible(spec, self._capacity)
        site.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="job-", dir=site.scratch) as job:
            folder = Path(job)
            read_fd, write_fd = os.pipe()
            try:
                child = self._start(spec, folder, site, write_fd)
            except BaseException:
                os.close(read_fd)
                raise
            finally:
                os.close(write_fd)
            if on_start is not None:
                on_start(child.pid)
            status = self._follow(child, read_fd, site.progress)
            receipt = _read_json(folder / RECEIPT_NAME)
            if status == 0 and receipt is not None:
                return Receipt.from_json(receipt)
            raise _failure(spec, status, _read_json(folder / ERROR_NAME), folder / LOG_NAME)

    def stop(self) -> None:
        """Kill every running child and start no more; their ``run`` calls raise StageCrashed."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                _kill_group(child)

    def _start(
        self, spec: StageSpec, folder: Path, site: Site, write_fd: int
    ) -> subprocess.Popen[bytes]:
        job = {
            "workspace": str(site.workspace.absolute()),
            "scratch": str(site.scratch.absolute()),
            "spec": spec.to_json(),
            "progress_fd": write_fd,
            "parent_pid": os.getpid(),
        }
        (folder / "job.json").write_text(json.dumps(job))
        with (folder / LOG_NAME).open("wb") as log, self._lock:
            if self._stopped:
                raise StageCrashed(f"stage {spec.name!r} was not started: the executor is stopped")
            child = subprocess.Popen(
                [sys.executable, "-m", "loopwright.compute.child", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(write_fd,),
                env={**os.environ, **_thread_limits(spec.resources.cpus)},
                # A session of its own: Ctrl-C reaches the command, which then stops the child.
                start_new_session=True,
            )
            self._children.add(child)
        return child

    def _follow(self, child: subprocess.Popen[bytes], read_fd: int, progress: ProgressSink) -> int:
        """Forward progress until the child has ended; return its exit status."""
        try:
            with os.fdopen(read_fd, "rb") as lines:
                for line in lines:
                    _forward(line, progress)
            return child.wait()
        finally:
            _kill_group(child)
            child.wait()
            with self._lock:
                self._children.discard(child)


def local_capacity() -> Resources:
    """Return what this machine offers: usable cores, memory, NVIDIA devices."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = len([p for p in Path("/dev").glob("nvidia[0-9]*") if p.name[6:].isdigit()])
    return Resources(
        cpus=cpus or 1,
        memory_gb=memory_gb,
        accelerator="gpu" if gpus else None,
        accelerators=gpus,
    )


def check_feasible(spec: StageSpec, capacity: Resources) -> None:
    """Raise :class:`Infeasible` if ``capacity`` can never run ``spec``."""
    wanted = spec.resources
    lacks: list[str] = []
    if wanted.cpus > capacity.cpus:
        lacks.append(f"{wanted.cpus} CPUs (there are {capacity.cpus})")
    if wanted.memory_gb > capacity.memory_gb:
        lacks.append(f"{wanted.memory_gb:.0f} GB memory (there are {capacity.memory_gb:.0f})")
    if wanted.accelerators and (
        wanted.accelerator != capacity.accelerator or wanted.accelerators > capacity.accelerators
    ):
        here = f"{capacity.accelerators} {capacity.accelerator or 'accelerators'}"
        lacks.append(f"{wanted.accelerators} {wanted.accelerator} (there are {here})")
    if lacks:
        raise Infeasible(
            f"stage {spec.name!r} asks for " + ", ".join(lacks) + "; lower what the recipe asks "
            "for or run it on a machine that has it"
        )


def _thread_limits(cpus: int) -> dict[str, str]:
    # Numerical libraries otherwise start a thread per core in every child, which on a busy
    # machine is many times slower than one.
    return {
        "OMP_NUM_THREADS": str(cpus),
        "OPENBLAS_NUM_THREADS": str(cpus),
        "MKL_NUM_THREADS": str(cpus),
        "LP_NUM_THREADS": str(cpus),
        "PYTHONUNBUFFERED": "1",
    }


def _forward(line: bytes, progress: ProgressSink) -> None:
    try:
        fraction, message = json.loads(line)
    except ValueError:
        return  # a line cut in two by the death of its writer
    progress(fraction, message)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _read_json(path: Path) -> Any | None:
    return json.loads(path.read_bytes()) if path.exists() else None


def _failure(
    spec: StageSpec, status: int, error: dict[str, str] | None, log: Path
) -> StageCrashed | StageFailed:
    if error is not None:
        failure = StageFailed(
            f"stage {spec.name!r} failed: {error['error']}: {error['message']}",
            raised=error["error"],
        )
        failure.add_note(error["traceback"])
        return failure
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
    tail = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    said = f"; its last words:\n{tail}" if tail else "; it said nothing"
    return StageCrashed(f"the process of stage {spec.name!r} {how} without a receipt{said}")
