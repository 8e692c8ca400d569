"""Refuse committed files that tie the repository to one machine, and files that are too large.

Four rules over everything git tracks:

1. No text names the host of a package registry. Which index pip asks is the machine's setting.
2. No text holds a path into somebody's home or workplace.
3. No file is larger than 5 MB. Runs and films belong in a workspace.
4. Outside the tests no text claims conformity with a standard, a law or an integrity level. To name
   one as the source of a number is fine, and so is to say that something is *not* claimed.

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

_STANDARD = (
    r"(?:ISO|IEC|EN|UL|ANSI|ASTM|RIA|DIN|GB/T)(?:[ /-]?(?:TS|TR|IEC|T))?[ /-]?\d{2,}[\w.:/-]*"
    r"|(?:A?SIL|PL|DAL|PLr)[ -]?[1-4a-eA-E]\b|DO-?(?:178|254)\w*|ARP ?4761|AI Act|CE[ -]mark\w*"
    r"|(?:safety|industry|international|integrity) (?:standards?|levels?)"
)
_CLAIM = (
    r"certifi(?:ed|es|cation)|complian(?:t|ce)|compl(?:y|ies)|conform(?:s|ant|ity|ing)?|accredited"
    r"|approved|qualified|capable|rated|fulfil(?:s|led)?|satisf(?:y|ies)|meets?|achieves?"
)
_GAP = r"[^\w.!?]+"  # between words of one sentence
_CLAIMED = re.compile(
    rf"\b(?:{_STANDARD}){_GAP}(?:\w+{_GAP}){{0,2}}?(?:{_CLAIM})\b"
    rf"|\b(?:{_CLAIM}){_GAP}(?:\w+{_GAP}){{0,5}}?(?:{_STANDARD})",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:no|not|never|nor|neither|without|cannot|none|nothing)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?][\s\"')]|\n\s*\n")


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


def claims(text: str) -> Iterator[str]:
    """Yield the sentences that claim conformity, as ``line: what``; names are read as words."""
    words = text.replace("_", " ")
    for match in _CLAIMED.finditer(words):
        begin = max(
            (end.end() for end in _SENTENCE_END.finditer(words, 0, match.start())), default=0
        )
        if not _DENIED.search(words, begin, match.end()):
            said = " ".join(match[0].split())
            yield (
                f"{words.count(chr(10), 0, match.start()) + 1}: claims {said!r}; a standard may be "
                "named as the source of a number, conformity is not ours to claim"
            )


def _makes_claims(path: Path, root: Path) -> bool:
    """Tell whether a file speaks to users; tests quote what is banned."""
    return path.relative_to(root).parts[0] != "tests" and path.stat().st_size <= MAX_FILE_BYTES


def main(root: Path) -> int:
    """Check every tracked file; print findings; return the exit code."""
    files = tracked_files(root)
    found = [f"{path.relative_to(root)}:{text}" for path in files for text in findings(path)]
    found += [
        f"{path.relative_to(root)}:{text}"
        for path in files
        if _makes_claims(path, root) and b"\0" not in (data := path.read_bytes())
        for text in claims(data.decode(errors="replace"))
    ]
    for line in found:
        print(line)
    print(f"Committed text: {len(files)} files, {len(found)} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
