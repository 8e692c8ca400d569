"""Stages in the ledger: attempts hold epochs, a receipt is committed once per key."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, StaleLease
from loopwright.core.stage import Receipt, StageSpec
from loopwright.store.ledger.database import Table, now_s
from loopwright.store.process import ProcessIdentity


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """The right to commit one stage, until someone begins a newer attempt."""

    key: str
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """What the ledger knows about an attempt."""

    attempt: Attempt
    name: str
    owner: str
    began_at: float
    ended_at: float | None
    outcome: str | None
    """``"committed"``, ``"failed"``, or None: still running, or died without a word."""
    message: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveChild:
    """A process that works for an attempt which never ended."""

    attempt: Attempt
    process: ProcessIdentity


class StageTable(Table):
    """Attempts and receipts."""

    def receipt(self, key: str) -> Receipt | None:
        """Return the committed receipt of a stage, if there is one."""
        return self.receipts([key]).get(key)

    def receipts(self, keys: Iterable[str]) -> dict[str, Receipt]:
        """Return the committed receipts among ``keys``.

        Raises:
            DamagedData: A receipt is not what was committed.
        """
        found = self._database.rows(
            "SELECT key, result_digest, receipt FROM receipts"
            " WHERE key IN (SELECT value FROM json_each(?))",
            [json.dumps(list(keys))],
        )
        return {key: _checked(key, digest, text) for key, digest, text in found}

    def spec(self, key: str) -> StageSpec:
        """Return what a stage was, which has been attempted at least once.

        Raises:
            DamagedData: Nothing of that key was attempted, or it is not what was written.
        """
        query = "SELECT spec FROM attempts WHERE key = ? ORDER BY epoch DESC LIMIT 1"
        for (text,) in self._database.rows(query, [key]):
            try:
                spec = StageSpec.from_json(json.loads(text))
                if spec.key == key:
                    return spec
            except (ValueError, KeyError, TypeError):
                pass  # told below, like any other change
        raise DamagedData(
            f"what stage {key} was can no longer be read in the ledger; "
            "restore ledger.db from a backup, or begin a new workspace"
        )

    def begin_attempt(self, spec: StageSpec, *, owner: str) -> Attempt:
        """Take the right to commit a stage; every older attempt at it loses that right.

        A stage with a receipt may be attempted again, to make a damaged object anew.

        Args:
            spec: The stage.
            owner: Who attempts it, for people.
        """
        me = ProcessIdentity.of(os.getpid())
        key = spec.key
        with self._database.change() as connection:
            epoch = 1 + _newest_epoch(connection, key)
            connection.execute(
                "INSERT INTO attempts (key, epoch, name, spec, owner, host, boot_id, pid,"
                " pid_started, began_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    epoch,
                    spec.name,
                    canonical_json(spec.to_json()).decode(),
                    owner,
                    me.host,
                    me.boot_id,
                    me.pid,
                    me.started,
                    now_s(),
                ),
            )
        return Attempt(key=key, epoch=epoch)

    def note_process(self, attempt: Attempt, pid: int) -> None:
        """Record the child process that works for an attempt, so that an heir can find it."""
        child = ProcessIdentity.of(pid)
        with self._database.change() as connection:
            connection.execute(
                "UPDATE attempts SET child_pid = ?, child_started = ? WHERE key = ? AND epoch = ?",
                (child.pid, child.started, attempt.key, attempt.epoch),
            )

    def commit(self, attempt: Attempt, receipt: Receipt) -> Receipt:
        """Make a receipt the result of its stage, once and for all; return the one on record.

        Committing the same result again changes nothing.

        Raises:
            StaleLease: A newer attempt owns the stage, or another result is on record.
            InvalidConfig: The receipt is of another stage.
        """
        if receipt.key != attempt.key:
            raise InvalidConfig(
                f"receipt of stage {receipt.key[:12]} offered for attempt at {attempt.key[:12]}"
            )
        digest = receipt.result.digest
        with self._database.change() as connection:
            recorded = _recorded(connection, receipt.key)
            if recorded is not None:
                _refuse_other_result(attempt, recorded[0], digest)
                _end(connection, attempt, "committed", None)
                return _checked(receipt.key, *recorded)
            newest = _newest_epoch(connection, attempt.key)
            if attempt.epoch != newest:
                raise StaleLease(
                    f"attempt {attempt.epoch} at stage {attempt.key[:12]} came too late: "
                    f"attempt {newest} owns it now; its own result counts"
                )
            connection.execute(
                "INSERT INTO receipts VALUES (?, ?, ?, ?, ?)",
                (
                    receipt.key,
                    digest,
                    attempt.epoch,
                    canonical_json(receipt.to_json()).decode(),
                    now_s(),
                ),
            )
            _end(connection, attempt, "committed", None)
        return receipt

    def fail(self, attempt: Attempt, message: str) -> None:
        """Record why an attempt ended without a receipt; one that has ended stays as it is."""
        with self._database.change() as connection:
            _end(connection, attempt, "failed", message)

    def live_children(self) -> list[LiveChild]:
        """Return the living processes of attempts that never ended, on this machine.

        Only who holds the workspace alone may take them for orphans.
        """
        here = ProcessIdentity.of(os.getpid())
        found = self._database.rows(
            "SELECT key, epoch, child_pid, child_started FROM attempts"
            " WHERE ended_at IS NULL AND child_pid IS NOT NULL AND host = ? AND boot_id = ?",
            (here.host, here.boot_id),
        )
        children = [
            LiveChild(
                attempt=Attempt(key=key, epoch=epoch),
                process=ProcessIdentity(
                    host=here.host, boot_id=here.boot_id, pid=pid, started=started
                ),
            )
            for key, epoch, pid, started in found
        ]
        return [child for child in children if child.process.is_alive()]

    def attempts(self, key: str | None = None) -> list[AttemptRow]:
        """Return the attempts at one stage, or at all of them, oldest first."""
        found = self._database.rows(
            "SELECT key, epoch, name, owner, began_at, ended_at, outcome, message FROM attempts"
            " WHERE ?1 IS NULL OR key = ?1 ORDER BY began_at, epoch",
            [key],
        )
        return [
            AttemptRow(
                attempt=Attempt(key=key, epoch=epoch),
                name=name,
                owner=owner,
                began_at=began_at,
                ended_at=ended_at,
                outcome=outcome,
                message=message,
            )
            for key, epoch, name, owner, began_at, ended_at, outcome, message in found
        ]


def _newest_epoch(connection: sqlite3.Connection, key: str) -> int:
    query = "SELECT coalesce(max(epoch), 0) FROM attempts WHERE key = ?"
    return connection.execute(query, [key]).fetchone()[0]


def _recorded(connection: sqlite3.Connection, key: str) -> tuple[str, str] | None:
    query = "SELECT result_digest, receipt FROM receipts WHERE key = ?"
    return connection.execute(query, [key]).fetchone()


def _checked(key: str, digest: str, text: str) -> Receipt:
    """Read a receipt; SQLite notices broken pages, but not a changed byte inside a value."""
    try:
        receipt = Receipt.from_json(json.loads(text))
        if receipt.key == key and receipt.result.digest == digest:
            return receipt
    except (ValueError, KeyError, TypeError):
        pass  # told below, like any other change
    raise DamagedData(
        f"the receipt of stage {key} in the ledger is not what was committed; "
        "restore ledger.db from a backup, or begin a new workspace"
    )


def _refuse_other_result(attempt: Attempt, recorded: str, offered: str) -> None:
    if recorded != offered:
        raise StaleLease(
            f"stage {attempt.key[:12]} already has the result {recorded[:12]}, attempt "
            f"{attempt.epoch} offers {offered[:12]}; the one on record stays. "
            "A stage must give the same result whenever it runs: look for time, order or "
            "unseeded randomness in it."
        )


def _end(
    connection: sqlite3.Connection, attempt: Attempt, outcome: str, message: str | None
) -> None:
    connection.execute(
        "UPDATE attempts SET ended_at = ?, outcome = ?, message = ?"
        " WHERE key = ? AND epoch = ? AND ended_at IS NULL",
        (now_s(), outcome, message, attempt.key, attempt.epoch),
    )
