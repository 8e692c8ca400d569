"""Shared memory between the processes of a cell: one small file per signal, one writer each.

A signal is a fixed number of float64 in a memory-mapped file (in ``/dev/shm``, say). The file has
two slots; the writer fills the older one, so a reader always finds a whole one, even when the
writer is killed or paused half-way. A checksum over sequence and values shows a torn slot on any
machine, whatever its memory ordering. Readers never wait and cannot disturb the writer: they map
the file read-only.

Times in signals are those of ``time.monotonic``. On Linux that is ``CLOCK_MONOTONIC``: one clock
for all processes of a machine (and of one time namespace), which no change of the date moves. It
means nothing on another machine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.errors import DamagedData, SafetyError, StorageError

_MAGIC = b"LWSIGNAL"
_HEADER = struct.Struct("<8sQQ")
"""Magic, number of values, CRC-32 of the label."""
_SLOTS_AT = 64
_SEQUENCE = struct.Struct("<Q")
_ATTEMPTS = 4
"""Readings before a signal counts as unreadable: a writer laps a reader once, not four times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a signal said last."""

    sequence: int
    """1 for the first; goes on when the writer is restarted."""
    values: tuple[float, ...]


class _Layout:
    """Where things lie in the file of a signal with so many values."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.body = struct.Struct(f"<Q{count}d")
        self.slot_bytes = self.body.size + _SEQUENCE.size
        self.file_bytes = _SLOTS_AT + 2 * self.slot_bytes

    def place(self, sequence: int) -> int:
        return _SLOTS_AT + (sequence & 1) * self.slot_bytes

    def pack(self, sequence: int, values: Iterable[float]) -> bytes:
        body = self.body.pack(sequence, *values)
        return body + _SEQUENCE.pack(zlib.crc32(body))

    def newest(self, memory: mmap.mmap) -> Sample | None:
        """Return the newest whole slot: the newer by its number first, then the other."""
        parity = int(
            _SEQUENCE.unpack_from(memory, self.place(1))[0]
            > _SEQUENCE.unpack_from(memory, self.place(0))[0]
        )
        return self._whole(memory, parity) or self._whole(memory, 1 - parity)

    def _whole(self, memory: mmap.mmap, parity: int) -> Sample | None:
        start = self.place(parity)
        raw = memory[start : start + self.slot_bytes]
        sequence, *values = self.body.unpack_from(raw)
        (checksum,) = _SEQUENCE.unpack_from(raw, self.body.size)
        if (
            sequence == 0
            or sequence & 1 != parity
            or checksum != zlib.crc32(raw[: -_SEQUENCE.size])
        ):
            return None
        return Sample(sequence=sequence, values=tuple(values))


def create_signal(path: Path, label: str, count: int) -> None:
    """Make the file of a signal that nobody has written yet; one that is there is left as it is.

    Args:
        path: Where; best in memory (``/dev/shm``), so that no disk is ever waited for.
        label: What the values mean; writer and reader must agree on it.
        count: How many values it carries.

    Raises:
        StorageError: It could not be written.
    """
    layout = _Layout(count)
    header = _HEADER.pack(_MAGIC, count, zlib.crc32(label.encode()))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(header.ljust(layout.file_bytes, b"\0"))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        finally:
            temporary.unlink()
    except OSError as error:
        raise StorageError(f"the signal {path} could not be made: {error}") from error


def _map(path: Path, label: str, count: int, *, writable: bool) -> tuple[int, mmap.mmap]:
    try:
        descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    except OSError as error:
        raise DamagedData(f"the signal {path} cannot be opened: {error}") from error
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    expected = _HEADER.pack(_MAGIC, count, zlib.crc32(label.encode()))
    if os.fstat(descriptor).st_size != _Layout(count).file_bytes:
        os.close(descriptor)
        raise DamagedData(f"{path} has not the size of a signal of {count} values")
    memory = mmap.mmap(descriptor, 0, access=access)
    if memory[: _HEADER.size] != expected:
        memory.close()
        os.close(descriptor)
        raise DamagedData(f"{path} is no signal of {count} values labelled {label!r}")
    return descriptor, memory


class SignalWriter:
    """The one writer of a signal; the kernel's lock on the file keeps a second one out."""

    def __init__(self, path: Path, label: str, count: int) -> None:
        """Take over the signal, after whatever was written last.

        Raises:
            DamagedData: It is missing, or another signal.
            SafetyError: Another process, perhaps a paused one, is its writer.
        """
        self._layout = _Layout(count)
        self._descriptor, self._memory = _map(path, label, count, writable=True)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise SafetyError(
                f"{path} has a writer already, perhaps a paused one; end that process first"
            ) from error
        self.last = self._layout.newest(self._memory)
        """What was there when this writer took over, or None."""
        self._sequence = self.last.sequence if self.last else 0

    def write(self, values: Iterable[float]) -> int:
        """Publish values; return their sequence number."""
        self._sequence += 1
        start = self._layout.place(self._sequence)
        self._memory[start : start + self._layout.slot_bytes] = self._layout.pack(
            self._sequence, values
        )
        return self._sequence

    def close(self) -> None:
        """Let go of the signal; idempotent."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self._descriptor)


class SignalReader:
    """Reads a signal without disturbing it."""

    def __init__(self, path: Path, label: str, count: int) -> None:
        """Map the signal read-only.

        Raises:
            DamagedData: It is missing, or another signal.
        """
        self._layout = _Layout(count)
        descriptor, self._memory = _map(path, label, count, writable=False)
        os.close(descriptor)  # the mapping stays; only a writer's lock needs it

    def read(self) -> Sample | None:
        """Return the newest values, or None where none were written or none are whole."""
        for _ in range(_ATTEMPTS):
            sample = self._layout.newest(self._memory)
            if sample is not None:
                return sample
        return None

    def close(self) -> None:
        """Unmap it; idempotent."""
        self._memory.close()
