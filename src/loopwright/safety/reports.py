"""Voluntary reports: what somebody saw, told to the investigator and to nobody else.

A box of its own, with a key of its own: a report is encrypted to the investigator's public key
before it touches a disk, so whoever approves, deploys or grounds cannot read it, and no code that
does so imports this module (a contract of the import linter). At intake the report loses what
points to its author: names of the user and the machine, home folders, addresses; of the time only
the day is kept. A sealed report has one of few lengths and a name drawn by chance.

What cannot be removed: how somebody writes, and who could have known. The file system also knows
which user wrote a file, so let a shared account own the box.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted

CONTEXT = b"loopwright voluntary report v1"
KEY_NAME, SUFFIX = "investigator.x25519", ".report"
REMOVED = "[removed]"
_PAGE_BYTES = 4096
_KEY_BYTES = 32
_NONCE = bytes(12)
"""A key is drawn for every report and used once, so one nonce will do."""
_ADDRESSES = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b\d{1,3}(?:\.\d{1,3}){3}\b|/(?:home|Users)/\S+"
)
_S_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What somebody saw."""

    text: str
    day: str
    """When it was handed in, ``"2026-11-22"`` (UTC)."""
    robot: str = ""
    """Versioned name of the sort of robot; never which one."""

    def __post_init__(self) -> None:
        """Refuse a report that says nothing."""
        if not self.text.strip():
            raise InvalidConfig("a report without a text says nothing")


class InvestigatorKey:
    """The private key that opens reports."""

    def __init__(self, private: X25519PrivateKey) -> None:
        """Wrap a key; use :meth:`new` or :meth:`read`."""
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> InvestigatorKey:
        """Draw a pair from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> InvestigatorKey:
        """Read a private key file.

        Raises:
            DamagedData: It is missing or holds no key.
            Untrusted: Others than its owner may read it.
        """
        try:
            mode, raw = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise DamagedData(f"no key could be read from {path}: {error}") from error
        if mode & 0o077:
            raise Untrusted(f"{path} may be read by others; run: chmod 600")
        if len(raw) != _KEY_BYTES:
            raise DamagedData(f"{path} holds {len(raw)} bytes; a private key has {_KEY_BYTES}")
        return cls(X25519PrivateKey.from_private_bytes(raw))

    def write(self, path: Path) -> None:
        """Write it to a new file that only its owner may read.

        Raises:
            InvalidConfig: The file exists.
            StorageError: It could not be written.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise InvalidConfig(f"{path} exists; a key is never overwritten") from error
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error
        with os.fdopen(handle, "wb") as file:
            file.write(self._private.private_bytes_raw())

    def unseal(self, sealed: bytes) -> Report:
        """Open a report.

        Raises:
            DamagedData: It was not sealed for this key, or is altered.
        """
        drawn, box = sealed[:_KEY_BYTES], sealed[_KEY_BYTES:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(drawn))
            padded = _cipher(shared, drawn, self.public).decrypt(_NONCE, box, CONTEXT)
            length = int.from_bytes(padded[:4], "little")
            return Report(**json.loads(padded[4 : 4 + length]))
        except (InvalidTag, ValueError, TypeError) as error:
            raise DamagedData(
                "this report was sealed for another investigator, or altered"
            ) from error


def seal(report: Report, investigator: bytes) -> bytes:
    """Return a report that only the investigator can read, of a whole number of pages.

    Args:
        report: What is told.
        investigator: Public key, 32 bytes.
    """
    text = canonical_json(asdict(report))
    padded = len(text).to_bytes(4, "little") + text
    padded += bytes(-len(padded) % _PAGE_BYTES)
    private = X25519PrivateKey.generate()
    drawn = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(investigator))
    return drawn + _cipher(shared, drawn, investigator).encrypt(_NONCE, padded, CONTEXT)


class ReportBox:
    """A folder of sealed reports, and the public key they are sealed with."""

    def __init__(self, folder: Path) -> None:
        """Open a box.

        Raises:
            DamagedData: It is none.
        """
        self.folder = folder
        try:
            self.investigator = (folder / KEY_NAME).read_bytes()
        except OSError as error:
            raise DamagedData(f"{folder} is no box of reports: {error}") from error
        if len(self.investigator) != _KEY_BYTES:
            raise DamagedData(f"{folder / KEY_NAME} is no public key of {_KEY_BYTES} bytes")

    @classmethod
    def create(cls, folder: Path, investigator: bytes) -> ReportBox:
        """Set up a box in a new or empty folder.

        Raises:
            InvalidConfig: There is one already.
            StorageError: The operating system refused.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / KEY_NAME).open("xb") as file:
                file.write(investigator)
        except FileExistsError as error:
            raise InvalidConfig(f"{folder} is a box of reports already") from error
        except OSError as error:
            raise StorageError(f"no box could be set up in {folder}: {error}") from error
        return cls(folder)

    def submit(self, text: str, *, robot: str = "", now_s: float | None = None) -> str:
        """Take in a report, without what points to its author; return its name, as a receipt.

        Args:
            text: What somebody saw.
            robot: Versioned name of the sort of robot.
            now_s: Seconds since 1970; only the day is kept.

        Raises:
            StorageError: The operating system refused.
        """
        day_s = (time.time() if now_s is None else now_s) // _S_PER_DAY * _S_PER_DAY
        day = time.strftime("%Y-%m-%d", time.gmtime(day_s))
        report = Report(text=without_author(text), day=day, robot=without_author(robot))
        name = secrets.token_hex(8)
        path = self.folder / f"{name}{SUFFIX}"
        try:
            with path.open("xb") as file:
                file.write(seal(report, self.investigator))
                file.flush()
                os.fsync(file.fileno())
            os.utime(path, (day_s, day_s))
        except OSError as error:
            raise StorageError(f"the report could not be stored: {error}") from error
        return name

    def read(self, key: InvestigatorKey) -> Iterator[tuple[str, Report]]:
        """Yield name and content of every report, oldest day first.

        Raises:
            DamagedData: One was sealed for another key, or altered.
        """
        found = {path.stem: key.unseal(path.read_bytes()) for path in self._reports()}
        yield from sorted(found.items(), key=lambda item: (item[1].day, item[0]))

    def _reports(self) -> Iterable[Path]:
        return self.folder.glob(f"*{SUFFIX}")


def without_author(text: str) -> str:
    """Return a text without the names of this user and machine, addresses and home folders."""
    for name in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", REMOVED, text, flags=re.IGNORECASE)
    return _ADDRESSES.sub(REMOVED, text)


def _names() -> Iterator[str]:
    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        user = ""
    for name in (host, host.partition(".")[0], user):
        if len(name) > 1:
            yield name


def _cipher(shared: bytes, drawn: bytes, investigator: bytes) -> ChaCha20Poly1305:
    """Return the cipher of one report; its key is bound to both public keys."""
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=CONTEXT + drawn + investigator)
    return ChaCha20Poly1305(derive.derive(shared))
