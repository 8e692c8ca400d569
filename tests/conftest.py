"""Temporary folders in memory where the machine offers it: durability is tested where it counts."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A wall-clock deadline per example fails on a busy machine, not on slow code. The same examples
# each time: red is what a change did, not what was never tried before. That is `make explore`.
settings.register_profile("loopwright", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("loopwright")

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2 << 30


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell ignores it for what runs in the background, and so would every command under test.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Thousands of fsyncs on a busy disk would take most of the suite's time.
    if config.option.basetemp is None and os.access(_MEMORY, os.W_OK) and _roomy(_MEMORY):
        config.option.basetemp = tempfile.mkdtemp(prefix="loopwright-tests-", dir=_MEMORY)
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def _roomy(folder: Path) -> bool:
    return shutil.disk_usage(folder).free > _NEEDED_BYTES
