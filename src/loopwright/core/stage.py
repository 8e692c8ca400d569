"""Stages: pure steps of a round. Plain JSON in and out, artefacts by digest.

The data's way: a :class:`StageSpec` says what to do; its :attr:`~StageSpec.key` is the digest of
everything that can change the result. An executor runs the entry point somewhere, which returns a
:class:`StageResult`; that and its cost are the :class:`Receipt`, committed once per key.
"""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import loopwright
from loopwright.core.digest import Json, digest_json, digest_tree
from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a stage needs from a machine. Not part of its key."""

    cpus: int = 1
    memory_gb: float = 2.0
    accelerator: str | None = None
    """Kind (``"gpu"``, ``"npu"`` ...), or None for the CPU."""
    accelerators: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSpec:
    """One pure step: which function, on what, with which seed."""

    name: str
    """What it does, for people (``"fit"``)."""
    entry: str
    """``"package.module:function"``; the function is a :data:`StageFunction`."""
    params: Mapping[str, Json] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input name to digest."""
    seed: int = 0
    code: str = ""
    """Digest of the code that will run (:func:`code_digest`)."""
    environment: str = ""
    """Digest of interpreter and libraries (:func:`environment_digest`)."""
    resources: Resources = field(default_factory=Resources)

    @property
    def key(self) -> str:
        """SHA-256 over everything that can change the result."""
        identity = self.to_json()
        del identity["resources"]
        return digest_json(identity)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StageSpec:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "resources": Resources(**data["resources"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """What a stage function returns."""

    outputs: Mapping[str, str] = field(default_factory=dict)
    """Output name to digest of an object that the stage has already stored durably."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """Small plain results (counts, curves). Deterministic: no times, no paths."""

    @property
    def digest(self) -> str:
        """SHA-256 over outputs and facts: two runs of one key must agree on it."""
        return digest_json({"outputs": dict(self.outputs), "facts": dict(self.facts)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a stage used up."""

    cpu_s: float
    """User and system CPU-seconds of the stage's process and its children."""
    wall_s: float
    peak_rss_mb: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The result of a stage and what it cost; committed exactly once per key."""

    key: str
    result: StageResult
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Receipt:
        """Read what :meth:`to_json` wrote."""
        return cls(key=data["key"], result=StageResult(**data["result"]), cost=Cost(**data["cost"]))


ProgressSink = Callable[[float, str], None]
"""Called with the finished fraction in [0, 1] and a short message."""

StartSink = Callable[[int], None]
"""Called with the process id of a child that was started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where a stage happens to run: places and a progress line. Never part of the result."""

    workspace: Path
    scratch: Path
    """A folder for this key alone. It outlives a crash, so a stage may resume from it."""
    progress: ProgressSink


StageFunction = Callable[[StageSpec, Site], StageResult]


class Executor(Protocol):
    """Runs stages somewhere."""

    def run(self, spec: StageSpec, site: Site, *, on_start: StartSink | None = None) -> Receipt:
        """Run one stage to its end.

        Raises:
            Infeasible: No machine here offers the resources; said before anything starts.
            StageCrashed: The process died.
            StageFailed: The function raised.
        """
        ...

    def stop(self) -> None:
        """End every running stage and start no more."""
        ...


def resolve_entry(entry: str) -> Callable[..., Any]:
    """Import ``"package.module:function"``.

    Raises:
        InvalidConfig: The text is no entry point, or nothing is there.
    """
    module_name, _, function_name = entry.partition(":")
    if not module_name or not function_name:
        raise InvalidConfig(f"entry point {entry!r}; expected 'package.module:function'")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InvalidConfig(f"entry point {entry!r} cannot be imported: {error}") from error


def code_digest() -> str:
    """Return the digest of Loopwright's own source: any change of it starts stages anew."""
    return digest_tree(Path(loopwright.__file__).parent, ".py")


_NUMERIC_PACKAGES = ("numpy", "torch", "mujoco", "metaworld", "gymnasium", "av", "pyarrow")


def environment_digest() -> str:
    """Return the digest of interpreter, platform and the libraries that results depend on."""
    versions: dict[str, Json] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "machine": platform.machine(),
    }
    for package in _NUMERIC_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return digest_json(versions)
