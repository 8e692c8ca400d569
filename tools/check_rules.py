"""Refuse safety rules that come from nowhere.

Every rule that ships cites the occurrence or the hazard it comes from, so that nobody has to guess
later why it is there. Prints one line per finding; exit code 1 if any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loopwright.safety.occurrence.rules import lint_rules


def main(path: Path | None) -> int:
    """Check a file of rules, by default the one that ships; return the exit code."""
    findings = lint_rules(path)
    for finding in findings:
        print(finding)
    print(f"Safety rules: {len(findings)} findings.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
