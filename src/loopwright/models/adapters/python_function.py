"""A Python file as a candidate (family ``"python"``).

The file defines one of two names::

    def act(observation):            # one action (A,) or a chunk (T, A); keeps no memory
        return [0.0, 0.0, 0.0, 1.0]

    def make_policy():               # anything with reset(seed) and act(observation)
        return MyPolicy()

Its digest is the candidate's identity, so an edited file is another candidate. Loading one runs
its code with all rights of the process: open only files that you would also run yourself.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from loopwright.core.errors import InvalidConfig, LoopwrightError, PolicyError
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import MANIFEST_NAME, Candidate, Policy

FAMILY = "python"
SOURCE_NAME = "policy.py"


class FunctionPolicy:
    """A policy without memory: one function from observation to action."""

    def __init__(self, function: Callable[[Observation], Any]) -> None:
        """Wrap ``function``; it returns one action ``(A,)`` or a chunk ``(T, A)``."""
        self._function = function

    def reset(self, seed: int) -> None:
        """Do nothing: there is no memory, and randomness is the function's own affair."""

    def act(self, observation: Observation) -> np.ndarray:
        """Return what the function returns, as float32 ``(T, A)``."""
        return _as_chunk(self._function(observation))


class _ChunkedPolicy:
    """Lets a policy of the file return a single action or a list."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self, seed: int) -> None:
        self._policy.reset(seed)

    def act(self, observation: Observation) -> np.ndarray:
        return _as_chunk(self._policy.act(observation))


def adopt_function(
    source_file: Path,
    folder: Path,
    interface: Interface,
    *,
    attachments: Iterable[Path] = (),
) -> Candidate:
    """Copy a Python file into a new candidate folder and seal it.

    Args:
        source_file: The file that defines ``act`` or ``make_policy``.
        folder: Where the candidate will lie; made here, and must be empty.
        interface: What the policy sees and commands (of the scenario it is meant for).
        attachments: More files it reads, found by it beside ``__file__``. No pickles.

    Returns:
        The sealed candidate.

    Raises:
        InvalidConfig: There is no such file, it defines neither name, ``folder`` is not empty, or
            an attachment is missing or called like another file.
        PolicyError: The file raised while it was imported.
        UnsafeCandidate: An attachment may hold a pickle.
    """
    if not source_file.is_file():
        raise InvalidConfig(f"{source_file} is no file; expected Python source that defines 'act'")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidConfig(f"{folder} is not empty; name a new folder for the candidate")
    try:
        shutil.copyfile(source_file, folder / SOURCE_NAME)
        for attachment in attachments:
            _attach(attachment, folder)
        candidate = Candidate.seal(folder, family=FAMILY, interface=interface, config={})
        load(folder, candidate)
    except LoopwrightError:
        shutil.rmtree(folder)
        raise
    return candidate


def _attach(attachment: Path, folder: Path) -> None:
    if not attachment.is_file():
        raise InvalidConfig(f"attachment {attachment} is no file")
    if attachment.name == MANIFEST_NAME or (folder / attachment.name).exists():
        raise InvalidConfig(f"attachment {attachment} has a name that is taken; rename it")
    shutil.copyfile(attachment, folder / attachment.name)


def load(folder: Path, candidate: Candidate) -> Policy:
    """Import the file of a candidate folder and return its policy.

    Raises:
        InvalidConfig: It defines neither ``act`` nor ``make_policy``.
        PolicyError: It raised while it was imported, or made something that is no policy.
    """
    module = _import_source(folder / SOURCE_NAME, f"loopwright_candidate_{candidate.digest[:16]}")
    make_policy: Any = getattr(module, "make_policy", None)
    act: Any = getattr(module, "act", None)
    if callable(make_policy):
        policy: Any = make_policy()
        if not (
            callable(getattr(policy, "reset", None)) and callable(getattr(policy, "act", None))
        ):
            raise PolicyError(
                f"make_policy() in {folder / SOURCE_NAME} returned {policy!r}; "
                "expected an object with reset(seed) and act(observation)"
            )
        return _ChunkedPolicy(policy)
    if callable(act):
        return FunctionPolicy(act)
    raise InvalidConfig(
        f"{folder / SOURCE_NAME} defines neither act(observation) nor make_policy(); add one"
    )


def _import_source(path: Path, name: str) -> ModuleType:
    """Run a source file as a module, leaving no ``__pycache__`` in the sealed folder."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise PolicyError(
            f"{path} cannot be imported: {type(error).__name__}: {error}; run it by hand to see why"
        ) from error
    return module


def _as_chunk(actions: Any) -> np.ndarray:
    """Return one action ``(A,)`` or a chunk ``(T, A)`` as float32 ``(T, A)``."""
    try:
        chunk = np.asarray(actions, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PolicyError(
            f"a policy returned {actions!r}; expected numbers (A,) or (T, A)"
        ) from error
    return chunk[None] if chunk.ndim == 1 else chunk
