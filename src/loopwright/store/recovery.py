"""What a start after a crash had to put right."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What was put right after a crash. Names are those of files and folders."""

    removed: tuple[str, ...] = ()
    """Half-written objects and recordings without a single step."""
    salvaged: tuple[str, ...] = ()
    """Episodes made of what a dead recorder had left; whole, or marked as censored."""
    reindexed: tuple[str, ...] = ()
    """Committed episodes that the ledger had not heard of."""
    forgotten: tuple[str, ...] = ()
    """Episodes in the ledger whose folders someone had taken away; they can be recorded again."""
    quarantined: tuple[str, ...] = ()
    """What could not be read, each kept in a folder with its reason."""

    def __bool__(self) -> bool:
        """Tell whether there was anything to do."""
        return any(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: Recovery) -> Recovery:
        """Return what both have put right."""
        return Recovery(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )
