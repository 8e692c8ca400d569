"""Fitting a world action model: first how bodies move, then what to do.

Stage one trains the motion models on play and demonstrations, or on demonstrations alone where
there is no play, and lets them name the actions of every video. Stage two trains policy and forward
head on demonstrations and those videos. With the switches off, what remains is plain cloning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from loopwright.core.configuration import read_config
from loopwright.core.digest import Json, digest_bytes, digest_json
from loopwright.core.episode import Episode
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface
from loopwright.core.learner import FitJob
from loopwright.core.policy import Candidate
from loopwright.core.seeds import derive_seed, generator
from loopwright.core.stage import ProgressSink
from loopwright.models.wam.config import SIZES, SizeName, sized
from loopwright.models.wam.loss import (
    MotionBatch,
    PolicyBatch,
    PolicyWeights,
    motion_loss,
    policy_loss,
)
from loopwright.models.wam.model import Wam, parameter_count
from loopwright.models.wam.sample import agreement_of, read_motion, save
from loopwright.train.augment import recoloured, shifted
from loopwright.train.data import (
    ActionPool,
    Collection,
    Footage,
    Labelled,
    MotionPool,
    PoolPart,
    action_pool,
    collect,
    motion_pool,
)
from loopwright.train.device import DeviceName, cpu_threads, named_device
from loopwright.train.progress import part_of
from loopwright.train.trainer import TrainerConfig, train

FAMILY = "wam"
VISIBLE_SHARE = 0.25
"""Explained variance from which an action component counts as visible in motion."""
_MOTION_SETTINGS = ("batch_motion", "task_share", "motion_dropout")
"""Fields of :class:`WamFit` that shape the batches of stage one."""
_FORESEE_EVERY = 2
"""The forward head learns from every second moment: drawing frames is the dearest part."""
FOLDS = 5
"""Every motion model leaves out one of so many folds of the episodes, to be judged on them."""
MIN_MOVING = 2
"""Episodes of the robot's own body, play or demonstrations, that motion models need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WamFit:
    """How to fit a world action model."""

    size: SizeName = "small"
    policy_steps: int = 1000
    motion_steps: int = 600
    learning_rate: float = 1e-3
    batch_demos: int = 16
    """Moments of demonstrations and attempts in a step."""
    batch_video: int = 40
    """Moments of videos in a step, if there are any."""
    batch_motion: int = 64
    """Windows in a step of every motion model."""
    use_video: bool = True
    """Whether videos are looked at in stage two at all."""
    use_idm: bool = True
    """Whether motion models are trained and name the actions of videos."""
    use_forward: bool = True
    """Whether the forward head is trained and shapes the state."""
    use_proprio: bool = False
    """Whether the policy acts on proprioception too."""
    proprio_dropout: float = 0.5
    """Share of demonstration moments whose proprioception is hidden."""
    task_share: float = 0.5
    """Share of demonstrations, against play, among the windows of motion."""
    forward_weight: float = 0.1
    average_decay: float = 0.99
    """Decay of the moving average of the policy's weights; the average is what acts."""
    shift_px: int = 2
    recolour: float = 0.3
    """Strength of the random colour mixtures of what the policy sees."""
    motion_dropout: float = 0.1
    """Share of the cells of image motion that is hidden."""
    device: DeviceName = "cpu"
    """``"cpu"``, or ``"auto"`` for the accelerator if there is one."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.size not in SIZES:
            raise InvalidConfig(f"size is {self.size!r}; expected one of {SIZES}")
        for name in ("policy_steps", "motion_steps", "batch_demos", "batch_video", "batch_motion"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("proprio_dropout", "task_share", "motion_dropout"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.device not in ("cpu", "auto"):
            raise InvalidConfig(f"device is {self.device!r}; expected 'cpu' or 'auto'")

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WamFit:
        """Read what :meth:`to_json` wrote; missing keys take their default.

        Raises:
            InvalidConfig: A key is unknown, or a value of another type or impossible.
        """
        return read_config(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class FitReport:
    """What came of a fit, as plain facts."""

    candidate: str
    """Digest of the sealed candidate."""
    curves: Mapping[str, list[list[float]]] = field(default_factory=dict)
    """``"motion/loss"``, ``"policy/forward"`` ...: ``[[step, value], ...]``, at most 100 each."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Trainable numbers of each part."""
    agreement: Mapping[str, float] = field(default_factory=dict)
    """Video episode to mean agreement of the motion models, 0 to 1; empty if they learned to read
    no component of the action."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """Errors on episodes that a part was not trained on."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def fit(config: WamFit, job: FitJob) -> FitReport:
    """Fit a model to demonstrations, attempts, play and videos, and write a sealed candidate.

    Runs on one thread: the same arguments give the same bytes, also after a crash.

    Raises:
        InvalidConfig: There is nothing to learn from, or episodes of different interfaces.
        Diverged: Training ran away.
        StorageError: Something could not be written.
    """
    with cpu_threads(1 if config.device == "cpu" else None):
        run = _Run(config, job)
        run.fit_motion(part_of(job.progress, 0.0, 0.35))
        run.fit_policy(part_of(job.progress, 0.35, 1.0))
        return run.seal(job.out, job.lineage)


class _Run:
    """One fit: the model, the collected episodes, and what is known so far."""

    def __init__(self, config: WamFit, job: FitJob) -> None:
        self.config, self.seed, self.scratch = config, job.seed, job.scratch
        self.mirrors = job.mirrors
        self.interface = _common_interface(job.episodes)
        self.data = collect(job.episodes, self.interface.cameras[0].name)
        if not self.data.tasks:
            raise InvalidConfig("there is no demonstration and no attempt to learn the task from")
        instructions = tuple(dict.fromkeys(e.instruction for e in self.data.tasks))
        self.shape = sized(config.size, self.interface, instructions)
        self.device = named_device(config.device)
        self.model = self._fresh_model()
        self.curves: dict[str, list[list[float]]] = {}
        self.validation: dict[str, float] = {}
        self.agreement: dict[str, float] = {}

    def _fresh_model(self) -> Wam:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "weights"))
            model = Wam(self.shape)
        model.actions.calibrate(self.interface.action)
        own = [e.proprio for e in (*self.data.tasks, *self.data.play) if e.own_body]
        if own:
            model.state.proprio.calibrate(np.concatenate(own))
        return model.to(self.device)

    def _identity(self, config: Mapping[str, Json], data: Json) -> str:
        """Return the digest of all that shapes a stage: its settings and what it learns from."""
        shape = self.shape.to_json()
        return digest_json({"config": config, "seed": self.seed, "shape": shape, "data": data})

    @property
    def _watched(self) -> Sequence[Footage]:
        """The videos that stage two looks at."""
        return self.data.footage if self.config.use_video else ()

    # Stage one: how bodies move.

    def fit_motion(self, progress: ProgressSink) -> None:
        """Train the motion models and judge each on the episodes it has not seen."""
        if not (self.config.use_idm and (self.data.play or self._watched)):
            return
        own = [e for e in (*self.data.play, *self.data.tasks) if e.own_body]
        if len(own) < MIN_MOVING:
            raise InvalidConfig(
                f"{'1 episode shows' if own else 'no episode shows'} how the robot's own body "
                f"moves; naming the actions of videos needs at least {MIN_MOVING}, to learn from "
                "one and be judged on another. "
                "Request play (Request(kind='play', count=40)) or more demonstrations, or set "
                "use_video and use_idm to False"
            )
        pool = motion_pool(own, span=self.shape.motion_span, task_share=self.config.task_share)
        motion = torch.cat([self.model.motion_of(self._tensor(e.frames)) for e in own])
        batches = MotionBatches(pool, motion, self.config, self.model, self.seed)
        # Nothing else, so that fits which differ in stage two alone can share a checkpoint.
        settings = {name: getattr(self.config, name) for name in _MOTION_SETTINGS}
        found = train(
            self.model.motion,
            lambda portion: motion_loss(self.model, batches.at(portion.step)),
            TrainerConfig(steps=self.config.motion_steps, learning_rate=self.config.learning_rate),
            name="motion",
            identity=self._identity(settings, _labelled_digests(own)),
            folder=self.scratch,
            progress=progress,
            mirrors=self.mirrors,
        )
        self.curves |= {f"motion/{k}": v for k, v in found.items()}
        self._judge_motion(own)

    def _judge_motion(self, episodes: Sequence[Labelled]) -> None:
        """Measure, on left-out episodes, how far each action component can be read off motion."""
        read, true = [], []
        for number, episode in enumerate(episodes):
            member = number % FOLDS
            if member >= len(self.model.motion):
                continue
            read.append(read_motion(self.model, episode.frames, members=(member,)).actions)
            true.append(self.model.actions.encode(self._tensor(episode.actions)).cpu().numpy())
        trust, gain = motion_trust(np.concatenate(read), np.concatenate(true))
        self.model.motion_trust_A.copy_(torch.from_numpy(trust))
        self.model.motion_gain_A.copy_(torch.from_numpy(gain))
        error = np.abs(np.concatenate(read) - np.concatenate(true)).mean(axis=0)
        for name, trusted, missed in zip(self.interface.action.names, trust, error, strict=True):
            self.validation[f"motion_trust/{name}"] = round(float(trusted), 6)
            self.validation[f"motion_error/{name}"] = round(float(missed), 6)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    # Stage two: what to do.

    def fit_policy(self, progress: ProgressSink) -> None:
        """Train policy and forward head on demonstrations and on videos with named actions."""
        trained = nn.ModuleDict(
            {
                "state": self.model.state,
                "policy": self.model.policy,
                "latent_action": self.model.latent_action,
                "forward_head": self.model.forward_head,
            }
        )
        weights = PolicyWeights(forward=self.config.forward_weight * self.config.use_forward)
        batches = self._policy_batches()
        found = train(
            trained,
            lambda portion: policy_loss(self.model, batches.at(portion.step), weights),
            TrainerConfig(
                steps=self.config.policy_steps,
                learning_rate=self.config.learning_rate,
                average_decay=self.config.average_decay,
            ),
            name="policy",
            identity=self._identity(self.config.to_json(), _digests(self.data)),
            folder=self.scratch,
            progress=progress,
            mirrors=self.mirrors,
        )
        self.curves |= {f"policy/{k}": v for k, v in found.items()}

    def _policy_batches(self) -> PolicyBatches:
        demos, videos = self._demo_parts(), self._video_parts()
        return PolicyBatches(
            action_pool(
                demos + videos,
                chunk=self.shape.chunk,
                future_steps=self.shape.future_steps,
                proprio_size=self.shape.proprio_size,
            ),
            sum(len(part.frames) for part in demos),
            self.config,
            self.seed,
            self.device,
        )

    def _demo_parts(self) -> list[PoolPart]:
        return [self._true_part(e) for e in self.data.tasks if e.own_body]

    def _video_parts(self) -> list[PoolPart]:
        if not self.config.use_video:
            return []
        foreign = [self._true_part(e) for e in self.data.tasks if not e.own_body]
        read = [self._read_part(f.episode, f.frames) for f in self._watched]
        # What names no action still shows the forward head how scenes go on; without one it would
        # only take rows of every batch.
        useful = [part for part in read if self.config.use_forward or part.weight.any()]
        return foreign + useful

    def _true_part(self, episode: Labelled) -> PoolPart:
        return PoolPart(
            frames=episode.frames,
            actions=episode.actions,
            weight=np.ones_like(episode.actions),
            proprio=episode.proprio if episode.own_body else None,
            task=self.shape.tasks.index(episode.instruction),
        )

    def _read_part(self, episode: str, frames: np.ndarray) -> PoolPart:
        """Name the actions of a video from its frames; what motion does not show weighs nothing."""
        reading = read_motion(self.model, frames)
        trust = self.model.motion_trust_A.cpu().numpy()
        agreed = agreement_of(reading, trust)
        if trust.any():  # else nothing was learned about motion, and there is nothing to agree on
            self.agreement[episode] = round(float(agreed.mean()), 6)
        gain = self.model.motion_gain_A.cpu().numpy()
        decoded = self.model.actions.decode(self._tensor(reading.actions * gain))
        return PoolPart(
            frames=frames,
            actions=decoded.cpu().numpy(),
            weight=(agreed[:, None] * trust[None, :]).astype(np.float32),
        )

    def seal(self, out: Path, lineage: Mapping[str, Json]) -> FitReport:
        """Write the candidate and report."""
        out.mkdir(parents=True, exist_ok=True)
        save(self.model, out)
        candidate = Candidate.seal(
            out,
            family=FAMILY,
            interface=self.interface,
            config={
                **self.shape.to_json(),
                "use_proprio": self.config.use_proprio,
                "foresees": self.config.use_forward,
            },
            lineage=lineage,
        )
        return FitReport(
            candidate=candidate.digest,
            curves=self.curves,
            parameters={n: parameter_count(m) for n, m in self.model.named_children()},
            agreement=self.agreement,
            validation=self.validation,
        )


def motion_trust(read: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each action component can be read off motion, and the gain that fits best.

    Args:
        read: Actions read by models that had not seen the episodes, float ``(N, A)``.
        true: What they were.

    Returns:
        1 for every component whose variance is explained to at least a quarter after the gain,
        else 0; and the gain that undoes the shrinking of a regression to noisy readings, within
        [1, 1.5].
    """
    power = np.maximum((read * read).sum(axis=0), 1e-9)
    gain = np.clip((read * true).sum(axis=0) / power, 1.0, 1.5)
    left = ((true - gain * read) ** 2).mean(axis=0)
    explained = 1.0 - left / np.maximum(true.var(axis=0), 1e-9)
    trust = explained >= VISIBLE_SHARE
    return trust.astype(np.float32), gain.astype(np.float32)


class MotionBatches:
    """Rows of labelled motion; the batch of a step depends on seed and step alone."""

    def __init__(
        self, pool: MotionPool, motion_NFhw: Tensor, config: WamFit, model: Wam, seed: int
    ) -> None:
        """Keep what batches are drawn from.

        Args:
            pool: Labels and chances of every row.
            motion_NFhw: Image motion of every row.
            config: Batch size and augmentation.
            model: Gives the number of members and the range of actions.
            seed: Root of every draw.
        """
        self.pool, self.config, self.seed = pool, config, seed
        self.motion_NFhw = motion_NFhw
        actions = torch.from_numpy(pool.actions).to(motion_NFhw.device)
        self.actions_NSA = model.actions.encode(actions)[torch.from_numpy(pool.following)]
        self.cumulative = []
        for member in range(len(model.motion)):
            chance = np.where(pool.episode % FOLDS == member, 0.0, pool.chance)
            self.cumulative.append(chance.cumsum() / chance.sum())

    def at(self, step: int) -> MotionBatch:
        """Return the batch of a step."""
        random = generator(self.seed, "motion", step)
        motions, actions = [], []
        for cumulative in self.cumulative:
            rows = np.searchsorted(cumulative, random.random(self.config.batch_motion))
            chosen = torch.from_numpy(np.minimum(rows, len(cumulative) - 1))
            motions.append(self._augmented(self.motion_NFhw[chosen], random))
            actions.append(self.actions_NSA[chosen])
        return MotionBatch(motion_MBFhw=torch.stack(motions), actions_MBSA=torch.stack(actions))

    def _augmented(self, motion_BFhw: Tensor, random: np.random.Generator) -> Tensor:
        """Move the field by up to one cell, and hide some cells, as another body might."""
        down, right = (int(n) for n in random.integers(-1, 2, size=2))
        moved = motion_BFhw.roll((down, right), dims=(2, 3))
        cells = (len(moved), 1, *moved.shape[-2:])
        kept = random.random(cells, dtype=np.float32) >= self.config.motion_dropout
        return moved * torch.from_numpy(kept).to(moved.device)


class PolicyBatches:
    """Moments of demonstrations and videos; the batch of a step depends on seed and step alone."""

    def __init__(
        self,
        pool: ActionPool,
        demo_rows: int,
        config: WamFit,
        seed: int,
        device: torch.device,
    ) -> None:
        """Keep what batches are drawn from.

        Args:
            pool: Demonstrations first, then videos.
            demo_rows: Rows of the pool that are demonstrations.
            config: Batch sizes and augmentation.
            seed: Root of every draw.
            device: Where batches go.
        """
        self.pool, self.demo_rows = pool, demo_rows
        self.config, self.seed, self.device = config, seed, device

    def at(self, step: int) -> PolicyBatch:
        """Return the batch of a step."""
        random = generator(self.seed, "policy", step)
        rows = random.integers(self.demo_rows, size=self.config.batch_demos)
        if len(self.pool) > self.demo_rows:
            watched = random.integers(self.demo_rows, len(self.pool), size=self.config.batch_video)
            rows = np.concatenate([rows, watched])
        every = _FORESEE_EVERY if self.config.use_forward else len(rows) + 1
        foreseen = np.arange(len(rows)) % every == every - 1
        rows = np.concatenate([rows[foreseen], rows[~foreseen]])
        pool, count = self.pool, int(foreseen.sum())
        futures = np.stack([rows[:count], pool.future[rows[:count]]], axis=1)
        image_and_future = self._augmented(pool.frames[futures], random)
        image = self._augmented(pool.frames[rows[count:]], random)
        hidden = random.random(len(rows)) < self.config.proprio_dropout
        following = pool.following[rows]
        return PolicyBatch(
            image_BHWC=self._tensor(np.concatenate([image_and_future[:, 0], image])),
            proprio_BP=self._tensor(pool.proprio[rows]),
            known_B=self._tensor(pool.known[rows] & ~hidden),
            task_B=self._tensor(pool.task[rows]),
            chunk_BKA=self._tensor(pool.actions[following]),
            weight_BKA=self._tensor(pool.weight[following]),
            future_RHWC=self._tensor(image_and_future[:, 1]),
        )

    def _augmented(self, frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
        moved = shifted(frames, random, reach_px=self.config.shift_px)
        return recoloured(moved, random, strength=self.config.recolour)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _common_interface(episodes: Sequence[Episode]) -> Interface:
    if not episodes:
        raise InvalidConfig("there is no episode to learn from")
    first = episodes[0].header.interface
    for episode in episodes:
        if episode.header.interface != first:
            raise InvalidConfig(
                f"episode {episode.id} has another interface than episode {episodes[0].id}; "
                "a model is fitted to episodes of one interface"
            )
    return first


def _digests(data: Collection) -> Json:
    """Return digests of every byte that is learned from."""
    return {
        "labelled": _labelled_digests((*data.tasks, *data.play)),
        "footage": [digest_bytes(np.ascontiguousarray(f.frames).tobytes()) for f in data.footage],
    }


def _labelled_digests(episodes: Sequence[Labelled]) -> list[Json]:
    return [
        [
            digest_bytes(np.ascontiguousarray(e.frames).tobytes()),
            digest_bytes(e.actions.tobytes()),
            digest_bytes(e.proprio.tobytes()),
            e.instruction,
            e.own_body,
        ]
        for e in episodes
    ]
