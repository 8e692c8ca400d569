"""Reading a chain: its header, and what was appended to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData
from loopwright.safety.chain.frames import FIRST_KIND, KIND_HEADER, Frame, Walk

FORMAT = "loopwright-chain/1"


@dataclass(kw_only=True)
class Chain:
    """A chain file. Its links are checked while it is read, its signatures are not."""

    path: Path
    header: Any
    """What its maker said of it: plain data."""
    id: str
    """Digest of the first frame, in hexadecimal."""
    torn: bytes = field(default=b"", init=False)
    """The beginning of a frame at the end, once all was read: its writer was killed."""

    def frames(self, *, since: int = 0) -> Iterator[Frame]:
        """Yield what was appended, without header and heads.

        Args:
            since: Smallest sequence number wanted.

        Raises:
            DamagedData: A frame is not what was written; everything before it has been yielded.
        """
        with _opened(self.path) as file:
            walk = Walk(file)
            for frame in walk:
                if frame.kind >= FIRST_KIND and frame.sequence >= since:
                    yield frame
            if walk.rest and not walk.torn:
                raise damaged(self.path, walk)
            self.torn = walk.rest

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield kind and payload of what was appended; see :meth:`frames`."""
        return ((frame.kind, frame.payload) for frame in self.frames())


def read_chain(path: Path) -> Chain:
    """Open a chain for reading; it may be being written at this moment.

    Raises:
        DamagedData: It is missing, or no chain.
    """
    with _opened(path) as file:
        first = next(iter(Walk(file)), None)
    header = parse_header(first) if first else None
    if first is None or header is None:
        raise DamagedData(f"{path} does not begin with the header of a chain")
    return Chain(path=path, header=header["header"], id=first.digest.hex())


def header_payload(header: Any, nonce: str) -> bytes:
    """Return the payload of the first frame; the nonce makes every chain another one."""
    return canonical_json({"format": FORMAT, "nonce": nonce, "header": header})


def parse_header(frame: Frame) -> dict[str, Any] | None:
    """Return what the first frame says, or None if it is no header."""
    if frame.kind != KIND_HEADER:
        return None
    try:
        content = json.loads(frame.payload)
    except (ValueError, RecursionError):
        return None
    known = isinstance(content, dict) and content.get("format") == FORMAT and "header" in content
    return content if known else None


def damaged(path: Path, walk: Walk) -> DamagedData:
    """Return the error for a chain whose walk ended before its end."""
    return DamagedData(
        f"{path} is not what was written from byte {walk.end} on (after record "
        f"{walk.sequence}); verify it to see what was done, and keep the file as it is"
    )


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise DamagedData(f"no chain could be read from {path}: {error}") from error
