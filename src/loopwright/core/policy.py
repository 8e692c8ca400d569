"""Policies and candidates: what acts, and the folder it comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from loopwright.core.digest import (
    Json,
    canonical_json,
    digest_bytes,
    digest_file,
    digest_json,
    folder_manifest,
)
from loopwright.core.episode import Episode
from loopwright.core.errors import DamagedData, UnsafeCandidate
from loopwright.core.interface import Interface, Observation

MANIFEST_NAME = "candidate.json"
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz")


class Policy(Protocol):
    """What turns observations into action chunks."""

    def reset(self, seed: int) -> None:
        """Forget the last episode; draw all randomness of the next one from ``seed``."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next actions, float32 ``(T >= 1, A)``; all T run before the next call."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Foresight:
    """Imagined futures beside what came, at N moments of an episode."""

    step: np.ndarray
    """int ``(N,)``: the steps at which the policy looked ahead."""
    present: np.ndarray
    """uint8 ``(N, h, w, 3)``: what it saw, at the size it draws."""
    imagined: np.ndarray
    """uint8 ``(N, h, w, 3)``: what it expected ``horizon_steps`` later."""
    real: np.ndarray
    """uint8 ``(N, h, w, 3)``: what came."""
    horizon_steps: int


@runtime_checkable
class ForeseeingPolicy(Policy, Protocol):
    """A policy that can also say what it expects to see."""

    def imagine(self, episode: Episode, *, every: int = 1) -> Foresight | None:
        """Imagine the future at every ``every``-th step; None if it never learned to."""
        ...

    def surprise(self, episode: Episode) -> np.ndarray | None:
        """Return how wrong it was at each step, float32 ``(T,)``; None if it never learned to."""
        ...


@runtime_checkable
class MotionReadingPolicy(Policy, Protocol):
    """A policy that also reads actions off frames, with several models that may disagree."""

    def agreement(self, episode: Episode) -> np.ndarray | None:
        """Return how far they agree at each step, float32 ``(T,)`` in 0..1; None if they cannot."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A trained model with its pre- and post-processing, addressed by the digest of every file.

    On disk it is a folder: ``candidate.json`` (this manifest) and the files it names. Nothing
    else may lie there: no pickles, no links, no undeclared files.
    """

    family: str
    """Who can load it (``"wam"``, ``"python"``, ``"lerobot"``; entry points add more)."""
    interface: Interface
    config: Mapping[str, Json]
    """What the family needs to rebuild the network."""
    files: Mapping[str, str]
    """File name to SHA-256, without the manifest."""
    lineage: Mapping[str, Json] = field(default_factory=dict)
    """Snapshot, parent candidate and recipe it came from."""

    @property
    def digest(self) -> str:
        """Digest of the whole folder, manifest and every file: what an object store calls it."""
        manifest = digest_bytes(canonical_json(self.to_json()))
        return digest_json(folder_manifest({**self.files, MANIFEST_NAME: manifest}))

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "family": self.family,
            "interface": self.interface.to_json(),
            "config": dict(self.config),
            "files": dict(self.files),
            "lineage": dict(self.lineage),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "interface": Interface.from_json(data["interface"])})

    @classmethod
    def seal(
        cls,
        folder: Path,
        *,
        family: str,
        interface: Interface,
        config: Mapping[str, Json],
        lineage: Mapping[str, Json] | None = None,
    ) -> Candidate:
        """Digest every file of ``folder``, write the manifest beside them, and return it."""
        files = {p.name: digest_file(p) for p in _listing(folder) if p.name != MANIFEST_NAME}
        candidate = cls(
            family=family, interface=interface, config=config, files=files, lineage=lineage or {}
        )
        (folder / MANIFEST_NAME).write_bytes(canonical_json(candidate.to_json()))
        return candidate

    @classmethod
    def open(cls, folder: Path) -> Candidate:
        """Read the manifest of ``folder`` and check every file against it.

        Raises:
            UnsafeCandidate: The folder holds a pickle, a link, a folder or an undeclared file.
            DamagedData: The manifest or a file is missing or not what its digest says.
        """
        manifest = folder / MANIFEST_NAME
        names = {p.name for p in _listing(folder)}
        if MANIFEST_NAME not in names:
            raise DamagedData(
                f"{folder} has no {MANIFEST_NAME}; a candidate folder is written by "
                "'loopwright run' or sealed with Candidate.seal"
            )
        try:
            candidate = cls.from_json(json.loads(manifest.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedData(f"{manifest} is no candidate manifest: {error}") from error
        undeclared = sorted(names - set(candidate.files) - {MANIFEST_NAME})
        if undeclared:
            raise UnsafeCandidate(f"{folder} holds undeclared files {undeclared}; remove them")
        for name, expected in candidate.files.items():
            if name not in names:
                raise DamagedData(f"{folder / name} is named by the manifest but is missing")
            found = digest_file(folder / name)
            if found != expected:
                raise DamagedData(
                    f"{folder / name} has the digest {found[:12]}, its manifest says "
                    f"{expected[:12]}; restore the file or train the candidate again"
                )
        return candidate


def _listing(folder: Path) -> list[Path]:
    """Return the plain files of a candidate folder; refuse anything else."""
    if not folder.is_dir():
        raise DamagedData(f"{folder} is no folder; a candidate is a folder with {MANIFEST_NAME}")
    paths = sorted(folder.iterdir())
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise UnsafeCandidate(
                f"{path} is a link or no plain file; a candidate holds files only"
            )
        if path.suffix.lower() in _PICKLE_SUFFIXES:
            raise UnsafeCandidate(
                f"{path} may hold a pickle, which runs code when it is read; "
                "save weights as safetensors and delete it"
            )
    return paths


PolicyLoader = Callable[[Path, Candidate], Policy]
"""Builds the policy of a checked candidate folder; one per family, found by entry point
``loopwright.policies``."""
