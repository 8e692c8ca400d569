"""Batches of windows straight from recorded episodes, for training sets that no memory holds.

::

    batches = WindowBatches(reader, batch_size=32, seed=0, num_workers=2)
    for step, batch in enumerate(batches.run(first), start=first):
        ...

Which windows a batch holds follows from the seed and the number of the step alone, so a run that
was killed goes on where it stopped, with as many workers as it likes.

Shapes: B batch, F frame offsets, R row offsets, H and W pixels of a camera.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.seeds import generator
from loopwright.store.episodes import DamagedEpisode
from loopwright.store.windows import Window, WindowReader


class WindowDataset(Dataset[Window]):
    """A reader's windows as a map-style dataset; give it to a loader of your own.

    :func:`collate` makes batches of its items. A loader that is forked or spawned opens files of
    its own in every worker.
    """

    def __init__(self, reader: WindowReader) -> None:
        """Read through ``reader``, which stays the caller's to close."""
        self._reader = reader

    def __len__(self) -> int:
        """Return the number of steps over all episodes."""
        return len(self._reader)

    def __getitem__(self, index: int) -> Window:
        """Return the window around a step.

        Raises:
            DamagedEpisode: A file of its episode is missing or damaged.
        """
        return self._reader.read(index)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowBatch:
    """Windows side by side."""

    episodes: tuple[str, ...]
    """Id of the episode of each."""
    steps_B: Tensor
    """int64 ``(B,)``: the step that the offsets count from."""
    images: Mapping[str, Tensor]
    """Camera name to uint8 ``(B, F, H, W, 3)``."""
    columns: Mapping[str, Tensor]
    """Column name to ``(B, R, ...)``, types as recorded."""
    frames_inside_BF: Tensor
    """bool: false where an offset leaves the episode and its end stands in."""
    rows_inside_BR: Tensor
    """bool, likewise."""


def collate(windows: Sequence[Window]) -> WindowBatch:
    """Lay windows side by side.

    Raises:
        ContractError: Their cameras or columns differ in name or shape.
    """
    return WindowBatch(
        episodes=tuple(window.episode for window in windows),
        steps_B=torch.tensor([window.step for window in windows]),
        images=_stacked(windows, [window.images for window in windows]),
        columns=_stacked(windows, [window.columns for window in windows]),
        frames_inside_BF=torch.from_numpy(np.stack([w.frames_inside for w in windows])),
        rows_inside_BR=torch.from_numpy(np.stack([w.rows_inside for w in windows])),
    )


def _stacked(
    windows: Sequence[Window], parts: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, Tensor]:
    first = {name: values.shape for name, values in parts[0].items()}
    for window, part in zip(windows, parts, strict=True):
        shapes = {name: values.shape for name, values in part.items()}
        if shapes != first:
            raise ContractError(
                f"a batch needs windows of one shape, but episode {windows[0].episode} has {first} "
                f"and episode {window.episode} has {shapes}; name the cameras to look through, "
                "or train on episodes of one robot"
            )
    return {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in first}


@dataclass(frozen=True, kw_only=True, slots=True)
class ShuffledOrder:
    """Which windows the batch of a step holds: every one once an epoch, in an order of its own."""

    num_windows: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a batch that cannot be filled."""
        if not 1 <= self.batch_size <= self.num_windows:
            raise InvalidConfig(
                f"batch_size is {self.batch_size}; expected 1 to the number of windows, "
                f"{self.num_windows}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what does not fill one is left out, another part each time."""
        return self.num_windows // self.batch_size

    def indices(self, step: int) -> np.ndarray:
        """Return the windows of a step, counted over all epochs, int64 ``(B,)``."""
        if step < 0:
            raise InvalidConfig(f"there is no step {step}; steps count from 0")
        epoch, place = divmod(step, self.steps_per_epoch)
        begin = place * self.batch_size
        return _permutation(self.num_windows, self.seed, epoch)[begin : begin + self.batch_size]


@lru_cache(maxsize=2)
def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    return generator(seed, "windows", epoch).permutation(size)


class WindowBatches:
    """Shuffled batches without end; a batch is a pure function of the seed and its step."""

    def __init__(
        self, reader: WindowReader, *, batch_size: int, seed: int, num_workers: int = 0
    ) -> None:
        """Read through ``reader``.

        Args:
            reader: Where the windows come from; stays the caller's to close.
            batch_size: Windows in a batch.
            seed: Of the order.
            num_workers: Processes that read ahead in :meth:`run`; 0 reads when asked.

        Raises:
            InvalidConfig: A batch is larger than all windows together, or the number of workers
                is negative.
        """
        if num_workers < 0:
            raise InvalidConfig(f"num_workers is {num_workers}; expected at least 0")
        self.order = ShuffledOrder(num_windows=len(reader), batch_size=batch_size, seed=seed)
        self._reader, self._num_workers = reader, num_workers

    def at(self, step: int) -> WindowBatch:
        """Return the batch of a step, read here and now.

        Raises:
            DamagedEpisode: A file of an episode is missing or damaged.
        """
        return collate([self._reader.read(int(index)) for index in self.order.indices(step)])

    def run(self, first_step: int = 0) -> Iterator[WindowBatch]:
        """Go through the batches from a step on, without end, workers reading ahead.

        Raises:
            DamagedEpisode: A file of an episode is missing or damaged.
        """
        loader = DataLoader(
            cast("Dataset[WindowBatch | _Damaged]", _Steps(self)),
            batch_size=None,
            sampler=_Counting(first_step),
            num_workers=self._num_workers,
        )
        for batch in loader:
            if isinstance(batch, _Damaged):
                raise DamagedEpisode(batch.episode, batch.message)
            yield batch


@dataclass(frozen=True, kw_only=True, slots=True)
class _Damaged:
    """A :class:`DamagedEpisode` on its way out of a worker, from where errors come without type."""

    episode: str
    message: str


class _Steps:
    """A dataset whose items are whole batches."""

    def __init__(self, batches: WindowBatches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> WindowBatch | _Damaged:
        try:
            return self._batches.at(step)
        except DamagedEpisode as error:
            prefix = f"episode {error.episode}: "
            return _Damaged(episode=error.episode, message=str(error).removeprefix(prefix))


class _Counting(Sampler[int]):
    """Counts up from a step, without end."""

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step

    def __iter__(self) -> Iterator[int]:
        step = self._first_step
        while True:
            yield step
            step += 1
