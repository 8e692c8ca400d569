"""``loopwright register show``: what is registered, verified while it is read."""

from __future__ import annotations

import json
from typing import Annotated

import tyro
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.site import DEFAULT_PLACE, Place, digest_named, written
from loopwright.safety.entry import Entry
from loopwright.safety.register import Register


def main(
    name: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER|DIGEST")
    ] = None,
    /,
    *,
    kind: str | None = None,
    limit: int = 40,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Show the last entries of a register, or one of them whole.

    Args:
        name: Number or digest of an entry; a table of the last ones by default.
        kind: Only statements of this kind, "directive/v1".
        limit: Most entries to list.
        json_output: Print JSON, one entry a line.
        place: Where the register lies.
    """
    with place.open() as register:
        if name is not None:
            entry = register.find(digest_named(register, name))
            assert entry is not None
            print(json.dumps(_plain(register, entry), indent=None if json_output else 1))
            return 0
        found = list(register.statements(kind))[-limit:] if kind else _last(register, limit)
        if json_output:
            for entry in found:
                print(json.dumps(_plain(register, entry)))
            return 0
        table = Table("", "registered (UTC)", "kind", "signed by", "digest", box=None)
        for entry in found:
            table.add_row(
                str(entry.number),
                written(entry.time_s),
                entry.kind,
                ", ".join(_people(register, entry)),
                entry.digest[:16],
            )
        stdout_console().print(table)
        print(f"{len(register)} entries, all verified; register {register.id[:16]}")
    return 0


def _last(register: Register, limit: int) -> list[Entry]:
    return list(register.statements(since=max(0, len(register) - limit)))


def _people(register: Register, entry: Entry) -> list[str]:
    return [register.ring.holder(name).person for name, _ in entry.signed.signatures]


def _plain(register: Register, entry: Entry) -> dict[str, object]:
    return {
        "number": entry.number,
        "time_s": entry.time_s,
        "digest": entry.digest,
        "signed_by": _people(register, entry),
        "statement": entry.statement.to_json(),
    }
