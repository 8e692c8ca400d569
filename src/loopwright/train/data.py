"""From episodes to what a batch may be drawn from.

A video becomes :class:`Footage`, which has frames and nothing else. There is no other way in, so
no action and no proprioception of a video can reach a batch.

Shapes: T steps, N rows of a pool, B batch, H and W pixels, F frames, K chunk, A action,
P proprioception.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from loopwright.core.episode import Episode
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.models.wam.ports import window_indices


@dataclass(frozen=True, kw_only=True, slots=True)
class Footage:
    """What a video shows. By design there is no field for anything else."""

    episode: str
    """Id of the episode."""
    frames: np.ndarray
    """uint8 ``(T, H, W, 3)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Frames with true actions: a demonstration, play, or an attempt."""

    episode: str
    frames: np.ndarray
    """uint8 ``(T, H, W, 3)``."""
    actions: np.ndarray
    """float32 ``(T, A)``, what the actuators got."""
    proprio: np.ndarray
    """float32 ``(T, P)``."""
    instruction: str
    own_body: bool
    """Whether the robot itself moves; another body's proprioception is not used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """Episodes sorted by what may be learned from them."""

    tasks: tuple[Labelled, ...]
    """Demonstrations and attempts: what to do."""
    play: tuple[Labelled, ...]
    """Undirected motion: how the body moves."""
    footage: tuple[Footage, ...]
    """Videos: what it looks like."""


def footage_of(episode: Episode, camera: str) -> Footage:
    """Return the frames of an episode of any kind, and nothing else of it."""
    return Footage(episode=episode.id, frames=_frames(episode, camera))


def labelled_of(episode: Episode, camera: str) -> Labelled:
    """Return an episode with its true actions.

    Raises:
        ContractError: The episode is a video.
    """
    if episode.header.kind == "video" or episode.applied is None or episode.proprio is None:
        raise ContractError(
            f"episode {episode.id} is a {episode.header.kind} and has no actions to learn from"
        )
    return Labelled(
        episode=episode.id,
        frames=_frames(episode, camera),
        actions=np.asarray(episode.applied, np.float32),
        proprio=np.asarray(episode.proprio, np.float32),
        instruction=episode.header.instruction,
        own_body=episode.header.body == "robot",
    )


def collect(episodes: Iterable[Episode], camera: str) -> Collection:
    """Sort episodes by kind, keeping their order.

    Raises:
        InvalidConfig: An episode lacks the camera.
    """
    tasks, play, footage = [], [], []
    for episode in episodes:
        if episode.header.kind == "video":
            footage.append(footage_of(episode, camera))
        elif episode.header.kind == "play":
            play.append(labelled_of(episode, camera))
        else:
            tasks.append(labelled_of(episode, camera))
    return Collection(tasks=tuple(tasks), play=tuple(play), footage=tuple(footage))


def _frames(episode: Episode, camera: str) -> np.ndarray:
    if camera not in episode.images:
        raise InvalidConfig(
            f"episode {episode.id} has the cameras {sorted(episode.images)}, "
            f"training looks through {camera!r}"
        )
    return episode.images[camera]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionPool:
    """Rows to draw moments from: what was seen, the chunk that followed, the frame that came."""

    frames: np.ndarray
    """uint8 ``(N, H, W, 3)``."""
    proprio: np.ndarray
    """float32 ``(N, P)``; zeros where unknown."""
    known: np.ndarray
    """bool ``(N,)``."""
    task: np.ndarray
    """int64 ``(N,)``."""
    actions: np.ndarray
    """float32 ``(N, A)``."""
    weight: np.ndarray
    """float32 ``(N, A)``, 0 to 1: how far each number is to be believed."""
    following: np.ndarray
    """int64 ``(N, K)``: rows of the chunk that begins here; the last row repeats at an end."""
    future: np.ndarray
    """int64 ``(N,)``: row of the frame to foresee."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.frames)


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolPart:
    """One episode's share of a pool."""

    frames: np.ndarray
    actions: np.ndarray
    weight: np.ndarray
    proprio: np.ndarray | None = None
    task: int = 0


def action_pool(
    parts: Sequence[PoolPart], *, chunk: int, future_steps: int, proprio_size: int
) -> ActionPool:
    """Lay episodes end to end, with windows that never leave their episode."""
    columns: dict[str, list[np.ndarray]] = {f.name: [] for f in fields(ActionPool)}
    begin = 0
    for part in parts:
        steps = len(part.frames)
        unknown = np.zeros((steps, proprio_size), np.float32)
        columns["frames"].append(part.frames)
        columns["proprio"].append(unknown if part.proprio is None else part.proprio)
        columns["known"].append(np.full(steps, part.proprio is not None))
        columns["task"].append(np.full(steps, part.task, np.int64))
        columns["actions"].append(part.actions)
        columns["weight"].append(part.weight)
        columns["following"].append(begin + window_indices(steps, range(chunk)))
        columns["future"].append(begin + window_indices(steps, (future_steps,))[:, 0])
        begin += steps
    return ActionPool(**{name: np.concatenate(values) for name, values in columns.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionPool:
    """Rows of labelled motion to draw from."""

    actions: np.ndarray
    """float32 ``(N, A)``."""
    following: np.ndarray
    """int64 ``(N, S)``: rows whose actions are to be named."""
    episode: np.ndarray
    """int64 ``(N,)``: which episode a row stems from."""
    chance: np.ndarray
    """float64 ``(N,)``: how often a row is drawn; sums to one."""


def motion_pool(episodes: Sequence[Labelled], *, span: int, task_share: float) -> MotionPool:
    """Lay labelled episodes end to end for the motion models.

    Args:
        episodes: Play and demonstrations of the robot's own body.
        span: Actions to name from each step on.
        task_share: Share of the draws that stem from episodes with an instruction.
    """
    following, begin = [], 0
    for episode in episodes:
        steps = len(episode.frames)
        following.append(begin + window_indices(steps, range(span)))
        begin += steps
    lengths = [len(e.frames) for e in episodes]
    directed = np.repeat([bool(e.instruction) for e in episodes], lengths)
    return MotionPool(
        actions=np.concatenate([e.actions for e in episodes]),
        following=np.concatenate(following),
        episode=np.repeat(np.arange(len(episodes)), lengths),
        chance=_shared_chance(directed, task_share),
    )


def _shared_chance(directed: np.ndarray, task_share: float) -> np.ndarray:
    count = directed.sum()
    if count in (0, len(directed)):
        return np.full(len(directed), 1.0 / len(directed))
    return np.where(directed, task_share / count, (1.0 - task_share) / (len(directed) - count))
