"""``loopwright register evidence``: sign what some files show, and register it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, read_json
from loopwright.core.digest import digest_file
from loopwright.core.errors import InvalidConfig
from loopwright.safety.statement import Statement


def main(
    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")],
    /,
    *,
    key: Path,
    file: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    facts: Path | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Register evidence: what was done or measured, and the digests of the files that show it.

    Args:
        what: In a sentence, "spring replaced".
        key: Private key of whoever vouches for it.
        file: A file that shows it; repeat the flag for several.
        facts: JSON file of further fields, such as measured numbers.
        place: Where the register lies.
    """
    subjects = {path.name: digest_file(path) for path in file if path.is_file()}
    if len(subjects) != len(file):
        raise InvalidConfig("a file of evidence does not exist, or two have the same name")
    said = {**(read_json(facts) if facts else {}), "what": what}
    statement = Statement(kind="evidence/v1", subjects=subjects, predicate=said)  # type: ignore[arg-type]
    register, number = place.sign_and_append(statement, key)
    register.close()
    print(f"entry {number}: {statement.digest}")
    return 0
