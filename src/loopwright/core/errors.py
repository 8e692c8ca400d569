"""The error tree: one class per thing a caller can do about it.

::

    LoopwrightError
    ├── UsageError                 what the user typed or wrote must change
    │   ├── UnknownName            nothing of that name (suggests a near one)
    │   ├── MissingExtra           an optional dependency is absent (names the install command)
    │   ├── MissingSystemLibrary   a library of the operating system is absent (names the command)
    │   ├── InvalidConfig          a configuration value is impossible
    │   └── Unidentified           the data given cannot answer (the message says what to add)
    ├── ContractError              a plug-in broke its contract; fix the plug-in
    │   ├── WorldError             a world emitted a wrong shape, type, range, or NaN
    │   ├── PolicyError            a policy returned a wrong chunk, or NaN
    │   └── VerifierError          a verifier raised, or returned no verdict
    ├── DamagedData                bytes on disk are not what was written (named, quarantined)
    ├── StorageError               the operating system refused a write (disk full, read-only, I/O)
    ├── WorkspaceBusy              another command holds the workspace; wait or stop it
    ├── WorkspaceError             the folder is no workspace, or one of another version
    ├── StageError                 a stage failed
    │   ├── StageCrashed           its process died (exit code or signal in the message)
    │   ├── StageFailed            it raised; the message carries the original error
    │   └── Infeasible             no machine here offers the resources it asks for
    ├── StaleLease                 a newer attempt owns the stage; this one may not commit
    ├── StaleChampion              the alias moved since the gate looked; run the gate again
    ├── UnsafeCandidate            a candidate folder holds a pickle, a link, or an undeclared file
    └── SafetyError                motion is refused; nothing moves until the reason is gone
        ├── Untrusted              a signature, a key or a role does not hold
        ├── NotCertified           no valid certificate covers exactly this deployment
        ├── AwaitsApproval         a certificate is proposed; it lacks a second person's signature
        ├── Grounded               a directive in force, or a lapsed lease, forbids motion
        └── RecorderLost           the black box cannot record, so nothing may move

A message says what happened, the value, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LoopwrightError(Exception):
    """Base of every error that Loopwright raises on purpose; it may be pickled and copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as message and attributes, whatever the constructor of the class asks for.

        An ordinary exception is made again from its message alone, which fails in the process that
        receives it if the constructor wants more, and hides the error behind that failure.
        """
        return _remade, (type(self), self.args), self.__dict__


def _remade(kind: type[LoopwrightError], args: tuple[Any, ...]) -> LoopwrightError:
    return kind.__new__(kind, *args)


class UsageError(LoopwrightError):
    """What the user typed or wrote must change."""


class UnknownName(UsageError):
    """No thing of that kind has that name; near misses are suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Build the message from what was asked for and what exists.

        Args:
            kind: What was looked up, as a singular noun (``"scenario"``).
            name: The name that was not found.
            known: Every name that would have been found.
        """
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif names:
            hint = "known: " + ", ".join(names)
        else:
            hint = f"no {kind} is known here"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind, self.name, self.near = kind, name, tuple(near)


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the package, what it is for, and the command that installs it."""
        super().__init__(
            f"{purpose} needs {package}, which is not installed; "
            f'run: pip install "loopwright[{extra}]"'
        )
        self.package, self.extra = package, extra


class MissingSystemLibrary(UsageError):
    """A library of the operating system is not installed."""

    def __init__(self, library: str, purpose: str, command: str) -> None:
        """Name the library, what it is for, and the command that installs it."""
        super().__init__(f"{purpose} needs {library}, which is not installed; run: {command}")
        self.library, self.command = library, command


class InvalidConfig(UsageError):
    """A configuration value is impossible."""


class Unidentified(UsageError):
    """The data given cannot answer the question; the message says what to add."""


class ContractError(LoopwrightError):
    """A plug-in (world, policy, verifier) broke its contract."""


class WorldError(ContractError):
    """A world emitted something its interface does not allow."""


class PolicyError(ContractError):
    """A policy returned something that is no action chunk of its interface."""


class VerifierError(ContractError):
    """A verifier raised, or returned something that is no verdict."""


class DamagedData(LoopwrightError):
    """Bytes on disk are not the bytes that were written."""


class StorageError(LoopwrightError):
    """The operating system refused to store something; nothing committed was touched."""


class WorkspaceBusy(LoopwrightError):
    """Another live command holds the workspace."""


class WorkspaceError(LoopwrightError):
    """The folder is no workspace, or one that this version cannot read."""


class StageError(LoopwrightError):
    """A stage did not deliver a receipt."""


class StageCrashed(StageError):
    """The process of a stage died without a word."""


class StageFailed(StageError):
    """A stage raised an error; the message carries it."""

    def __init__(self, message: str, *, raised: str = "") -> None:
        """Keep the class name of the error, which is all of it that crosses a process."""
        super().__init__(message)
        self.raised = raised


class Infeasible(StageError):
    """No machine in reach offers the resources that a stage asks for."""


class StaleLease(LoopwrightError):
    """A newer attempt owns this stage, so this one may not commit."""


class StaleChampion(LoopwrightError):
    """The alias no longer points at the champion the decision was made against."""


class UnsafeCandidate(LoopwrightError):
    """A candidate folder holds what no candidate may hold."""


class SafetyError(LoopwrightError):
    """Motion is refused; nothing moves until the reason is gone."""


class Untrusted(SafetyError):
    """A statement is not signed by whom it must be signed, or was altered afterwards."""


class NotCertified(SafetyError):
    """No valid certificate covers exactly this candidate, scenario, robot and filter."""


class AwaitsApproval(SafetyError):
    """A certificate is proposed and lacks the signature of a second person."""


class Grounded(SafetyError):
    """A directive in force, or a lease that was not renewed, forbids motion."""


class RecorderLost(SafetyError):
    """The black box cannot record; without a recorder nothing moves."""
