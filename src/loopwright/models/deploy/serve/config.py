"""Where a server listens, who may ask it, and how much it takes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loopwright.core.errors import InvalidConfig

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """Settings of a server."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = field(default=None, repr=False)
    """What clients must know; needed for every host but this machine."""
    waiting: int = 32
    """Most requests that wait; more are sent away with a time to come back."""
    together: int = 4
    """Most requests that the model works on by turns."""
    most_body_bytes: int = 8 << 20
    stop_within_s: int = 10
    """How long answers that are being given may take to end when the server stops."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, and a door open to others without a key."""
        if not 0 <= self.port < 1 << 16:
            raise InvalidConfig(f"port is {self.port}; expected 0 to 65535")
        if self.waiting < 1 or self.together < 1:
            raise InvalidConfig(
                f"waiting is {self.waiting} and together {self.together}; expected at least 1"
            )
        if self.token is not None and not (
            self.token.isascii()
            and self.token.isprintable()
            and self.token.strip() == self.token != ""
        ):
            raise InvalidConfig("the token is empty or holds what no header can; use letters")
        if self.token is None and not self.is_local:
            raise InvalidConfig(
                f"host {self.host} can be reached by others and there is no token; give "
                "--token-file, or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in _LOOPBACK

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names under which the server may be asked; None for any."""
        return _LOOPBACK if self.is_local and self.token is None else None


def read_token(path: Path) -> str:
    """Return the token in a file, without the line end behind it.

    Raises:
        InvalidConfig: The file cannot be read or is empty.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise InvalidConfig(f"the token file {path} is empty; expected one line")
    return token
