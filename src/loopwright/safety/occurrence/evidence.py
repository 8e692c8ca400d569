"""Frozen evidence: files by their digest, read-only, with a signed statement of what they are.

Freezing copies. Nothing here deletes, moves or alters anything, and neither does a directive that
grounds a robot: what the cause will be found in has to stay as it was.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed, Statement

EVIDENCE = "evidence/v1"
LEAST_RETENTION_DAYS = 183
"""Six months: the floor that the EU AI Act (Articles 19 and 26) sets for automatic logs. A number
taken over as a floor; what the law asks of a site is the site's to find out."""
DEFAULT_RETENTION_DAYS = 3_650
_S_PER_DAY = 86_400.0
_READ_ONLY = 0o444


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceStore:
    """A folder of frozen files; each is called by its SHA-256."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Return where a file lies."""
        return self.folder / digest

    def freeze(
        self,
        files: Mapping[str, Path],
        *,
        key: SigningKey,
        now_s: float,
        about: Mapping[str, str],
        retain_days: int = DEFAULT_RETENTION_DAYS,
    ) -> Signed:
        """Copy files and sign what they are; the originals are left as they are.

        Args:
            files: Name to file.
            key: Of a recorder, an operator or an investigator.
            now_s: Seconds since 1970.
            about: What else is to be said of them.
            retain_days: How long they have to be kept.

        Raises:
            InvalidConfig: They are to be kept for less than six months, or there is none.
            DamagedData: A file cannot be read.
            StorageError: The operating system refused.
        """
        if retain_days < LEAST_RETENTION_DAYS:
            raise InvalidConfig(
                f"retention of {retain_days} days; expected {LEAST_RETENTION_DAYS} or more"
            )
        if not files:
            raise InvalidConfig("there is nothing to freeze")
        digests = {name: self._take(path) for name, path in sorted(files.items())}
        return Signed.by(
            Statement(
                kind=EVIDENCE,
                subjects=digests,
                predicate={
                    "what": "frozen evidence",
                    "bytes": {n: self.path(d).stat().st_size for n, d in digests.items()},
                    "frozen_s": now_s,
                    "keep_until_s": now_s + retain_days * _S_PER_DAY,
                    **about,
                },
            ),
            key,
        )

    def verify(self, statement: Statement) -> dict[str, Path]:
        """Return name to file of frozen evidence, every byte of it digested again.

        Args:
            statement: What was signed when it was frozen; its signature is the register's matter.

        Raises:
            DamagedData: A file is missing or is not what was frozen; all of them are named.
        """
        files = {name: self.path(digest) for name, digest in statement.subjects.items()}
        wrong = [
            f"{name} {trouble}"
            for name, path in files.items()
            if (trouble := _trouble(path, statement.subjects[name]))
        ]
        if wrong:
            raise DamagedData(
                f"the evidence in {self.folder} is not what was frozen: {', '.join(wrong)}; "
                "nothing may be concluded from it"
            )
        return files

    def _take(self, source: Path) -> str:
        """Copy a file to its digest, read-only; one that is there already is checked."""
        partial = self.folder / f".{secrets.token_hex(8)}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not stat.S_ISREG(source.lstat().st_mode):
                raise DamagedData(f"{source} is no plain file; evidence is made of plain files")
            shutil.copyfile(source, partial, follow_symlinks=False)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            digest = digest_file(partial)
            partial.chmod(_READ_ONLY)
            self._settle(partial, digest)
        except FileNotFoundError as error:
            raise DamagedData(f"{source} cannot be read: {error}") from error
        except OSError as error:
            raise StorageError(f"{source} could not be frozen: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return digest

    def _settle(self, partial: Path, digest: str) -> None:
        """Give a copy its name; never in the place of a good one."""
        final = self.path(digest)
        if final.exists() and (trouble := _trouble(final, digest)):
            raise DamagedData(f"frozen evidence {digest[:16]} {trouble}; keep it, and find out why")
        partial.replace(final)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _trouble(path: Path, digest: str) -> str:
    """Return what is wrong with a frozen file; empty if nothing."""
    try:
        if path.is_symlink():
            return "is a link now"
        return "" if digest_file(path) == digest else "was altered"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error})"
