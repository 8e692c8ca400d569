"""Refuse committed files that tie the repository to one machine, and files that are too large.

Three rules over everything git tracks:

1. No text names the host of a package registry. Which index pip asks is the machine's setting.
2. No text holds a path into somebody's home or workplace.
3. No file is larger than 5 MB. Runs and films belong in a workspace.

Usage: ``python tools/check_text.py [ROOT]``. Prints one line per finding; exit code 1 if any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_BYTES = 5_000_000

# Written in pieces, because this file is checked too.
_REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("yarnpkg", "com"),
        ("debian", "org"),
        ("ubuntu", "com"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("conda", "io"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
_REGISTRY = re.compile("|".join(re.escape(host) for host in _REGISTRY_HOSTS), re.IGNORECASE)
_PRIVATE_PATH = re.compile(r"(?<![\w.$}])/(?:home|root|Users|work)/\w[\w./-]*")


def tracked_files(root: Path) -> list[Path]:
    """Return the files git tracks below ``root`` that exist there."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True
    ).stdout.decode()
    paths = (root / name for name in listing.split("\0") if name)
    return [path for path in paths if path.is_file()]


def findings(path: Path) -> Iterator[str]:
    """Yield what is wrong with one file, as ``line: what``."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        yield f"1: {size / 1e6:.1f} MB, at most {MAX_FILE_BYTES / 1e6:.0f} MB is committed"
        return
    data = path.read_bytes()
    if b"\0" in data:
        return
    for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
        for match in _REGISTRY.finditer(line):
            yield f"{number}: names the registry host {match[0]!r}; leave that to the machine"
        for match in _PRIVATE_PATH.finditer(line):
            yield f"{number}: names the private path {match[0]!r}; use a relative one"


def main(root: Path) -> int:
    """Check every tracked file; print findings; return the exit code."""
    files = tracked_files(root)
    found = [f"{path.relative_to(root)}:{text}" for path in files for text in findings(path)]
    for line in found:
        print(line)
    print(f"Committed text: {len(files)} files, {len(found)} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
