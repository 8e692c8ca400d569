"""The workspace: one folder that holds everything a loop needs to resume."""

from __future__ import annotations

import json
import os
import time
import tomllib
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from loopwright.core.errors import DamagedData, WorkspaceBusy, WorkspaceError
from loopwright.store.durable import make_folder, storing, try_lock, write_text_file
from loopwright.store.episode_files import reconcile
from loopwright.store.ledger import Ledger
from loopwright.store.objects import Objects
from loopwright.store.recovery import Recovery

SCHEMA_VERSION = 1
MARKER = "workspace.toml"
LEDGER = "ledger.db"
_LOCK = "workspace.lock"
FOLDERS = (
    "objects",
    "episodes",
    "staging",
    "snapshots",
    "views",
    "reports",
    "deployments",
)


class Workspace:
    """An open workspace. Made by :meth:`create` or :meth:`open`, never directly.

    Attributes:
        root: The folder.
        objects: Immutable bytes by digest.
        ledger: What was done, decided and recorded.
        recovery: What an exclusive opening had to put right.
    """

    def __init__(self, root: Path, ledger: Ledger, lock: int | None) -> None:
        """Hold the open parts; ``lock`` is the descriptor of the lock file, if it is held."""
        self.root = root
        self.objects = Objects(root / "objects")
        self.ledger = ledger
        self.recovery = Recovery()
        self._lock = lock

    @classmethod
    def create(cls, folder: Path, *, exclusive: bool = False) -> Workspace:
        """Make ``folder`` a workspace, unless it is one already, and open it.

        Raises:
            WorkspaceError: The folder holds other things.
            StorageError: The operating system refused.
        """
        root = Path(folder).resolve()
        if not (root / MARKER).exists():
            _lay_out(root)
        return cls.open(root, exclusive=exclusive)

    @classmethod
    def open(cls, folder: Path, *, exclusive: bool = False) -> Workspace:
        """Open a workspace.

        Args:
            folder: Where it is.
            exclusive: Take its lock (a command that turns the loop) and put right what a crash
                left behind. Commands that only look, and the processes of stages, do without.

        Raises:
            WorkspaceError: It is no workspace, or one of a newer version.
            WorkspaceBusy: Another command holds its lock.
            DamagedData: The ledger is missing or damaged.
        """
        root = Path(folder).resolve()
        _check_version(root)
        lock = take_lock(root) if exclusive else None
        try:
            if not (root / LEDGER).exists() or not (root / LEDGER).stat().st_size:
                raise DamagedData(
                    f"{root / LEDGER} is missing or empty; restore it from a backup, or run "
                    f"'loopwright data doctor {root} --repair'. "
                    "Objects and episodes are not affected."
                )
            workspace = cls(root, Ledger(root / LEDGER), lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        if exclusive:
            workspace.recover()
        return workspace

    def __enter__(self) -> Workspace:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def episodes_folder(self) -> Path:
        """Committed episodes, a folder each."""
        return self.root / "episodes"

    @property
    def staging_folder(self) -> Path:
        """Recordings under way."""
        return self.root / "staging"

    @property
    def snapshots_folder(self) -> Path:
        """Snapshots, a JSON file each."""
        return self.root / "snapshots"

    def recover(self) -> Recovery:
        """Put right what a crash left behind; what a living process works on is let be.

        Called by an exclusive opening. To be called again by whoever has ended orphans
        (:meth:`Ledger.live_children`) since then.
        """
        swept = Recovery(removed=tuple(self.objects.sweep()))
        self.recovery = swept + self._salvage() + reconcile(self)
        if self.recovery:
            self.ledger.add_event("recovered", **asdict(self.recovery))
        return self.recovery

    def _salvage(self) -> Recovery:
        recordings = self.staging_folder / "recordings"
        if not recordings.is_dir() or not any(recordings.iterdir()):
            return Recovery()
        # Late, because it needs the video and table libraries, which most starts do not.
        from loopwright.store.salvage import salvage_recordings

        return salvage_recordings(self)

    def close(self) -> None:
        """Close the ledger and let the lock go; idempotent."""
        self.ledger.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lay_out(root: Path) -> None:
    known = {*FOLDERS, _LOCK, MARKER}  # the marker, if another process is faster
    with storing(root):
        root.mkdir(parents=True, exist_ok=True)
        strange = sorted(
            path.name
            for path in root.iterdir()
            if path.name not in known and not path.name.startswith((LEDGER, f".{MARKER}"))
        )
        if strange:
            raise WorkspaceError(
                f"{root} is not empty (it holds {', '.join(strange[:3])}); "
                "choose an empty or new folder for a workspace"
            )
        for name in FOLDERS:
            make_folder(root / name)
    Objects(root / "objects")
    Ledger(root / LEDGER).close()
    # Written last: a folder with this file is a whole workspace.
    write_marker(root)


def write_marker(root: Path) -> None:
    """Say that a folder is a workspace, made now."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = f'schema_version = {SCHEMA_VERSION}\ncreated_at = "{created}"\n'
    write_text_file(root / MARKER, text, "marker")


def _check_version(root: Path) -> None:
    marker = root / MARKER
    try:
        version = tomllib.loads(marker.read_text(encoding="utf-8"))["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        raise WorkspaceError(
            f"{root} is no workspace (it has no {MARKER}); 'loopwright run RECIPE' makes one"
        ) from None
    except (ValueError, KeyError) as error:
        raise WorkspaceError(
            f"{marker} cannot be read ({error}); it should say schema_version = {SCHEMA_VERSION}"
        ) from error
    if version != SCHEMA_VERSION:
        raise WorkspaceError(
            f"{root} is a workspace of version {version!r}, this Loopwright reads version "
            f"{SCHEMA_VERSION}; upgrade Loopwright, or choose another workspace"
        )


def take_lock(root: Path) -> int:
    """Return the descriptor that holds the lock; closing it lets go, and so does dying.

    Raises:
        WorkspaceBusy: Another command holds it.
        StorageError: The operating system refused.
    """
    path = root / _LOCK
    with storing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if try_lock(descriptor):
            holder = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
            return descriptor
        text = os.pread(descriptor, 1000, 0)
        os.close(descriptor)
    raise WorkspaceBusy(f"{root} is in use by {_holder(text)}; wait for it or stop it (Ctrl-C)")


def _holder(text: bytes) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has the lock but has not signed yet
        return "another process"
