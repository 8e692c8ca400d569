"""Print the exact versions of everything installed beside this interpreter, one a line.

``make lock`` writes the output to ``requirements/lock.txt``. Left out are Loopwright itself, pip
(a fresh environment brings its own), and the build label of a version (``2.13.0+cpu``), so that
the same lock serves a CPU build and a CUDA build.
"""

from __future__ import annotations

import re
from importlib import metadata

_LEFT_OUT = {"loopwright", "pip"}
_ACCELERATOR_RUNTIMES = re.compile(r"nvidia-|cuda-|triton$")


def frozen() -> list[str]:
    """Return ``name==version`` for each installed distribution, sorted by name."""
    lines: set[str] = set()
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name not in _LEFT_OUT and not _ACCELERATOR_RUNTIMES.match(name):
            lines.add(f"{name}=={distribution.version.partition('+')[0]}")
    return sorted(lines)


if __name__ == "__main__":
    print("# Written by 'make lock'. Exact versions of everything 'make' installs.")
    print("\n".join(frozen()))
