"""Supervised fine-tuning: imitate replies."""

from __future__ import annotations

import torch
from torch import Tensor

from loopwright.train.finetune.adapting import Adapted
from loopwright.train.finetune.nats import Lesson, nats_of
from loopwright.train.finetune.packing import Order, Rows
from loopwright.train.trainer import Portion


class Imitation:
    """The loss of replies: nats a token, every token of a step counting alike."""

    def __init__(
        self,
        adapted: Adapted,
        rows: Rows,
        order: Order,
        device: torch.device,
        lesson: Lesson | None = None,
    ) -> None:
        """Take what learns, what it learns from, and from whom beside that."""
        self._adapted, self._rows, self._order, self._device = adapted, rows, order, device
        self._lesson = lesson

    def __call__(self, portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a portion, and the share of tokens that come first already."""
        chosen = self._order.at(portion.step)
        # Over the tokens of the whole step, not of the portion: rows hold different numbers.
        each = self._rows.learned_RT[chosen].sum() / portion.count
        mine = self._rows.pick(chosen[portion.rows(len(chosen))], self._device)
        found = nats_of(self._adapted.network, mine, self._lesson)
        loss, parts = found.nats_RK.sum() / each, {"accuracy": found.hit_RK.sum() / each}
        if self._lesson is None or found.taught_RK is None:
            return loss, parts
        taught, share = found.taught_RK.sum() / each, self._lesson.share
        parts |= {"replies": loss.detach(), "taught": taught.detach()}
        return (1 - share) * loss + share * taught, parts


@torch.no_grad()
def imitation_error(adapted: Adapted, rows: Rows, device: torch.device) -> dict[str, float]:
    """Return nats a token and accuracy over all rows, without learning from them."""
    adapted.eval()
    nats, hits, count = 0.0, 0, 0
    for number in range(len(rows)):
        found = nats_of(adapted.network, rows.pick([number], device))
        nats += found.nats_RK.sum().item()
        hits += int(found.hit_RK.sum())
        count += int(found.count)
    return {"loss": nats / count, "accuracy": hits / count}
