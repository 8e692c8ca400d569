"""The program of a stage's child process: ``python -m loopwright.compute.child JOB_FOLDER``.

The job folder holds ``job.json`` (spec, workspace, scratch, parent). The child answers with
``receipt.json`` or ``error.json``, each written whole or not at all, and sends progress as JSON
lines over the file descriptor it was given. Nothing but plain JSON crosses.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from loopwright.compute.execute import execute
from loopwright.core.stage import Site, StageSpec

RECEIPT_NAME = "receipt.json"
ERROR_NAME = "error.json"
_PR_SET_PDEATHSIG = 1


def main(job_folder: str) -> int:
    """Run the job in ``job_folder``; return the exit status."""
    folder = Path(job_folder)
    job = json.loads((folder / "job.json").read_bytes())
    _die_with(job["parent_pid"])
    spec = StageSpec.from_json(job["spec"])
    site = Site(
        workspace=Path(job["workspace"]),
        scratch=Path(job["scratch"]),
        progress=_ProgressPipe(job["progress_fd"]),
    )
    try:
        receipt = execute(spec, site)
    except Exception as error:  # noqa: BLE001 - the edge of the process: say it, then exit 1
        report = {
            "error": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        _write_whole(folder / ERROR_NAME, report)
        return 1
    _write_whole(folder / RECEIPT_NAME, receipt.to_json())
    return 0


class _ProgressPipe:
    """A progress sink that writes JSON lines; a reader that has gone is no reason to stop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self, fraction: float, message: str) -> None:
        if self._descriptor is None:
            return
        line = json.dumps([round(float(fraction), 4), message]) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            self._descriptor = None


def _die_with(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the request: then we already belong to somebody else.
    if os.getppid() != parent_pid:
        os._exit(1)


def _write_whole(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
