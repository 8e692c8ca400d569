"""The engine: each stage once, whatever dies in between.

A stage whose receipt is in the ledger is never run again. Otherwise an attempt is opened under a
new epoch (which fences every older attempt), the executor runs it, and the receipt is committed
in one transaction. So execution is at least once, effect exactly once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loopwright.core.digest import Json
from loopwright.core.errors import StageFailed, StaleLease
from loopwright.core.stage import (
    Executor,
    Receipt,
    Resources,
    Site,
    StageSpec,
    code_digest,
    environment_digest,
)
from loopwright.store.episode_files import DamagedEpisode, is_cut_short
from loopwright.store.ledger import Attempt
from loopwright.store.objects import DamagedObject
from loopwright.store.workspace import Workspace

_DAMAGE = (DamagedObject, DamagedEpisode)


def is_damage(error: BaseException) -> bool:
    """Tell whether something damaged was read, here or in a stage; it has been put away."""
    if isinstance(error, StageFailed):
        return error.raised in {kind.__name__ for kind in _DAMAGE}
    return isinstance(error, _DAMAGE)


class Display(Protocol):
    """Shows what the engine and the loop are doing. Called from several threads."""

    def stage_began(self, spec: StageSpec, label: str) -> None:
        """Hear that a stage is being run (not merely found in the ledger)."""
        ...

    def stage_progress(self, spec: StageSpec, fraction: float, message: str) -> None:
        """Hear how far it got."""
        ...

    def stage_ended(self, spec: StageSpec, receipt: Receipt | None) -> None:
        """Hear that it ended, with its receipt unless it failed."""
        ...

    def say(self, message: str) -> None:
        """Show one line that stays."""
        ...


class Silence:
    """A display that shows nothing."""

    def stage_began(self, spec: StageSpec, label: str) -> None:
        """Show nothing."""

    def stage_progress(self, spec: StageSpec, fraction: float, message: str) -> None:
        """Show nothing."""

    def stage_ended(self, spec: StageSpec, receipt: Receipt | None) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A stage to run, with a line for people."""

    spec: StageSpec
    label: str


class Engine:
    """Runs stages of one workspace, each exactly once in effect."""

    def __init__(
        self,
        workspace: Workspace,
        executor: Executor,
        *,
        display: Display | None = None,
        parallel: int = 2,
    ) -> None:
        """Set up an engine on a workspace that this process holds exclusively."""
        self.workspace = workspace
        self.display: Display = display or Silence()
        self._executor = executor
        self._parallel = parallel
        self._code = code_digest()
        self._environment = environment_digest()
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._end_orphans()

    def spec(
        self,
        name: str,
        entry: str,
        *,
        params: Mapping[str, Json] | None = None,
        inputs: Mapping[str, str] | None = None,
        seed: int = 0,
        resources: Resources | None = None,
    ) -> StageSpec:
        """Return a spec bound to this installation's code and environment."""
        return StageSpec(
            name=name,
            entry=entry,
            params=params or {},
            inputs=inputs or {},
            seed=seed,
            code=self._code,
            environment=self._environment,
            resources=resources or Resources(),
        )

    def run_all(self, works: Sequence[Work]) -> list[Receipt]:
        """Run independent stages side by side; return their receipts in order.

        Raises:
            StageError: A stage failed. Those that had finished by then are committed; those that
                were still running are stopped, and so is the executor. Only when what it read was
                damaged (:func:`is_damage`) they run on, for it can be made anew and read again.
        """
        keys = [work.spec.key for work in works]
        known = self.workspace.ledger.receipts(keys)
        receipts = {key: r for key, r in known.items() if self._holds(r)}
        todo = {key: w for key, w in zip(keys, works, strict=True) if key not in receipts}
        receipts |= self._execute(list(todo.values()))
        return [receipts[key] for key in keys]

    def restore(self, keys: Iterable[str]) -> None:
        """Run finished stages again of whose results something is lost by now, in this order.

        What they make under another code than before may differ from what is on record. Then the
        record stands, and what was lost stays lost.
        """
        keys = list(dict.fromkeys(keys))
        receipts = self.workspace.ledger.receipts(keys)
        for key in keys:
            if key not in receipts or self._holds(receipts[key]):
                continue
            spec = self.workspace.ledger.spec(key)
            self.display.say(f"something that {spec.name} {key[:8]} had made is lost; once more")
            try:
                self._execute([Work(spec=spec, label=f"{spec.name}: make anew what was lost")])
            except StaleLease as error:
                self.display.say(f"it could not be made anew: {error}")

    def has_episodes(self, episodes: Iterable[str]) -> bool:
        """Tell whether every one of some episodes is in the workspace."""
        return all((self.workspace.episodes_folder / e).is_dir() for e in episodes)

    def _holds(self, receipt: Receipt) -> bool:
        """Tell whether everything that a receipt names is there; what is not is made again.

        An attempt that a fault cut short cannot be made again, only another in its place, and
        nothing is learned from it: if it is lost, what is on record about it is all there is.
        """
        objects, outputs = self.workspace.objects, receipt.result.outputs
        episodes = receipt.result.facts.get("episodes", ())
        assert isinstance(episodes, (list, tuple))
        return (
            all(map(objects.has, outputs.values()))
            and all(objects.has_folder(d) for name, d in outputs.items() if name == "candidate")
            and self.has_episodes(e for e in map(str, episodes) if not is_cut_short(e))
        )

    def _execute(self, works: Sequence[Work]) -> dict[str, Receipt]:
        receipts: dict[str, Receipt] = {}
        failures: list[BaseException] = []
        with ThreadPoolExecutor(max_workers=self._parallel) as threads:
            futures: dict[Future[Receipt], tuple[Work, Attempt]] = {}
            for work in works:
                attempt = self.workspace.ledger.begin_attempt(work.spec, owner=self._owner)
                futures[threads.submit(self._run_child, work, attempt)] = (work, attempt)
            try:
                for future in as_completed(futures):
                    work, attempt = futures[future]
                    if (error := future.exception()) is None:
                        receipts[work.spec.key] = self._commit(work, attempt, future.result())
                        continue
                    failures.append(error)
                    self.workspace.ledger.fail(attempt, f"{type(error).__name__}: {error}")
                    if not is_damage(error):
                        self._executor.stop()  # nothing good can come of the others any more
            except BaseException:
                # Leaving the block waits for the threads, so end what they wait for.
                self._executor.stop()
                raise
        if failures:
            raise failures[0]
        return receipts

    def _run_child(self, work: Work, attempt: Attempt) -> Receipt:
        spec = work.spec
        site = Site(
            workspace=self.workspace.root,
            scratch=self._scratch(spec),
            progress=lambda f, m: self.display.stage_progress(spec, f, m),
        )
        self.display.stage_began(spec, work.label)
        try:
            receipt = self._executor.run(
                spec,
                site,
                on_start=lambda pid: self.workspace.ledger.note_process(attempt, pid),
            )
        except BaseException:
            self.display.stage_ended(spec, None)
            raise
        self.display.stage_ended(spec, receipt)
        return receipt

    def _commit(self, work: Work, attempt: Attempt, receipt: Receipt) -> Receipt:
        self.workspace.ledger.commit(attempt, receipt)
        shutil.rmtree(self._scratch(work.spec), ignore_errors=True)
        return receipt

    def _end_orphans(self) -> None:
        """Kill children of an engine that died where the kernel did not end them with it."""
        for orphan in self.workspace.ledger.live_children():
            os.kill(orphan.process.pid, signal.SIGKILL)
            self.workspace.ledger.fail(orphan.attempt, "its engine died")

    def _scratch(self, spec: StageSpec) -> Path:
        return self.workspace.staging_folder / f"stage-{spec.key[:16]}"
