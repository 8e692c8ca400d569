"""Learning from preferences without a reward model.

Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"
(2023), equation 7. Pairs lie in two sets of rows: the chosen replies, then the rejected ones.

Shapes: N pairs, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loopwright.core.errors import DamagedData
from loopwright.core.stage import ProgressSink
from loopwright.train.checkpoint import write_atomically
from loopwright.train.device import Precision, computing_in
from loopwright.train.finetune.adapting import Adapted
from loopwright.train.finetune.nats import nats_of
from loopwright.train.finetune.packing import Order, Rows
from loopwright.train.trainer import Portion

_FINGERPRINT = "fingerprint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Pairs of replies and how likely they were at the beginning."""

    rows: Rows
    """``2 N``: the chosen replies, then the rejected ones."""
    reference_R: Tensor
    """Log-likelihood of each reply under the model before fine-tuning, nats, computed in the
    precision of the fine-tune."""

    @property
    def pairs(self) -> int:
        """N."""
        return len(self.rows) // 2

    def sides(self, chosen: np.ndarray) -> np.ndarray:
        """Return the rows of some pairs: all better replies, then all worse ones."""
        return np.concatenate([chosen, chosen + self.pairs])


class Preference:
    """The loss of pairs."""

    def __init__(
        self,
        adapted: Adapted,
        data: Preferences,
        order: Order,
        device: torch.device,
        *,
        beta: float,
    ) -> None:
        """Take what learns, what it learns from, and how hard it is held to its beginning."""
        self._adapted, self._data, self._order = adapted, data, order
        self._device, self._beta = device, beta

    def __call__(self, portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a portion, and margin, accuracy and the two rewards."""
        pairs = self._order.at(portion.step)
        mine = pairs[portion.rows(len(pairs))]
        better, worse = _rewards(self._adapted, self._data, mine, self._device, self._beta)
        return preference_loss(better, worse), judged(better, worse)


def preference_loss(better_N: Tensor, worse_N: Tensor) -> Tensor:
    """Return ``-log sigmoid(margin)``, averaged; rewards are scaled by beta already."""
    return -F.logsigmoid(better_N - worse_N).mean()


def judged(better_N: Tensor, worse_N: Tensor) -> dict[str, Tensor]:
    """Return how well rewards tell better from worse replies."""
    margin_N = (better_N - worse_N).detach()
    return {
        "margin": margin_N.mean(),
        "accuracy": (margin_N > 0).float().mean(),
        "chosen_reward": better_N.detach().mean(),
        "rejected_reward": worse_N.detach().mean(),
    }


@torch.no_grad()
def preference_error(
    adapted: Adapted, data: Preferences, device: torch.device, *, beta: float, precision: Precision
) -> dict[str, float]:
    """Return loss and judgement over all pairs, without learning from them."""
    adapted.eval()
    with computing_in(precision, device):
        sides = [_rewards(adapted, data, np.array([n]), device, beta) for n in range(data.pairs)]
    better, worse = (torch.cat(side) for side in zip(*sides, strict=True))
    values = {"loss": preference_loss(better, worse), **judged(better, worse)}
    return {name: float(value) for name, value in values.items()}


def _rewards(
    adapted: Adapted, data: Preferences, pairs: np.ndarray, device: torch.device, beta: float
) -> tuple[Tensor, Tensor]:
    """Return what the model gained on each reply since the beginning, times beta."""
    sides = data.sides(pairs)
    now_R = -nats_of(adapted.network, data.rows.pick(sides, device)).nats_RK.sum(dim=1)
    reward_R = beta * (now_R - data.reference_R[torch.from_numpy(sides)].to(device))
    better, worse = reward_R.chunk(2)
    return better, worse


def reference(
    adapted: Adapted,
    rows: Rows,
    device: torch.device,
    *,
    path: Path,
    fingerprint: str,
    precision: Precision,
    progress: ProgressSink,
) -> Tensor:
    """Return the log-likelihood of every row under the model before fine-tuning, ``(R,)``.

    Computed once; started again, a fine-tune finds it in a file.

    Args:
        adapted: Its adapter is left out. Without one, it must not have learned anything yet.
        rows: The replies.
        device: Where to compute.
        path: Where the result is kept.
        fingerprint: Digest of model, data and precision.
        precision: In which the model is trained: what it gains is measured against this.
        progress: Told the finished fraction.

    Raises:
        DamagedData: The file is there but cannot be read.
    """
    kept = _kept(path, fingerprint)
    if kept is not None:
        return kept
    adapted.eval()
    found = torch.empty(len(rows))
    with torch.no_grad(), adapted.original(), computing_in(precision, device):
        for number in range(len(rows)):
            if number % 100 == 0:
                progress(number / len(rows), "reference: how likely each reply was")
            nats = nats_of(adapted.network, rows.pick([number], device)).nats_RK
            found[number] = -nats.sum()
    write_atomically(path, save({"reference": found}, {_FINGERPRINT: fingerprint}))
    return found


def _kept(path: Path, fingerprint: str) -> Tensor | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(_FINGERPRINT) != fingerprint:
                return None
            return file.get_tensor("reference")
    except (SafetensorError, OSError) as error:
        raise DamagedData(f"{path} cannot be read: {error}; delete it") from error
