"""From whom a student learns, beside the data."""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherConfig:
    """A trained model, and how much it has to say."""

    path: str
    """Folder of the teacher."""
    temperature: float = 2.0
    """How much the beliefs of both are softened before they are compared."""
    share: float = 0.5
    """Part of the loss that is the teacher's; the rest is that of the data."""

    def __post_init__(self) -> None:
        """Refuse what softens nothing, and parts that are none."""
        if not self.temperature > 0:
            raise InvalidConfig(f"temperature is {self.temperature}; expected more than 0")
        if not 0.0 < self.share <= 1.0:
            raise InvalidConfig(f"share is {self.share}; expected more than 0, up to 1")
