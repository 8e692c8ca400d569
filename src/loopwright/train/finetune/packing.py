"""Several documents in one row, so that short ones do not leave rows empty.

Positions begin anew with each document. That alone tells the attention of transformers where one
ends, and :func:`require_isolation` makes sure that a given architecture heeds it.

Shapes: R rows, T tokens of a row.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopwright.core.errors import InvalidConfig
from loopwright.core.seeds import generator
from loopwright.models.language import LanguageModel
from loopwright.train.finetune.documents import Document


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens in rows, filled up with padding that counts as a document of its own."""

    token_RT: Tensor
    position_RT: Tensor
    """Place in its document."""
    learned_RT: Tensor
    """bool, which tokens are to be learned."""
    packed: bool
    """Whether rows may hold several documents; else positions are what any network assumes."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.token_RT)

    def pick(self, chosen: Sequence[int] | np.ndarray, device: torch.device) -> Rows:
        """Return some rows, cut where all of them hold nothing but padding."""
        index = torch.as_tensor(np.asarray(chosen), dtype=torch.long)
        learned = self.learned_RT[index]
        # Nothing after the last token to be learned has any effect on the loss.
        used = int(learned.any(dim=0).nonzero().max()) + 1
        return Rows(
            self.token_RT[index, :used].to(device),
            self.position_RT[index, :used].to(device),
            learned[:, :used].to(device),
            self.packed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Which rows belong to which step: shuffled anew every epoch, a function of seed and step."""

    rows: int
    batch: int
    seed: int

    def at(self, step: int) -> np.ndarray:
        """Return the rows of a step, ``(batch,)``."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs = places // self.rows
        orders = {int(e): self._epoch(int(e)) for e in np.unique(epochs)}
        return np.array(
            [orders[int(e)][p % self.rows] for e, p in zip(epochs, places, strict=True)]
        )

    def _epoch(self, epoch: int) -> np.ndarray:
        return generator(self.seed, "order", epoch).permutation(self.rows)


def fill_rows(documents: Sequence[Document], row_tokens: int, *, packed: bool) -> Rows:
    """Lay documents into rows.

    Args:
        documents: None longer than a row.
        row_tokens: Length of a row.
        packed: Whether documents share rows; else each has one of its own.
    """
    plan = _plan(documents, row_tokens) if packed else [[i] for i in range(len(documents))]
    longest = max(sum(len(documents[i].tokens) for i in row) for row in plan)
    rows = Rows(
        torch.zeros(len(plan), longest, dtype=torch.long),
        torch.zeros(len(plan), longest, dtype=torch.long),
        torch.zeros(len(plan), longest, dtype=torch.bool),
        packed,
    )
    for number, row in enumerate(plan):
        place = 0
        for document in (documents[i] for i in row):
            end = place + len(document.tokens)
            rows.token_RT[number, place:end] = torch.tensor(document.tokens)
            rows.position_RT[number, place:end] = torch.arange(end - place)
            rows.learned_RT[number, place:end] = torch.tensor(document.learned)
            place = end
        rows.position_RT[number, place:] = torch.arange(longest - place)
    return rows


def _plan(documents: Sequence[Document], row_tokens: int) -> list[list[int]]:
    """Put each document, long ones first, into the fullest row that still has room for it."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # tokens left and row, in ascending order
    for i in sorted(range(len(documents)), key=lambda i: -len(documents[i].tokens)):
        size = len(documents[i].tokens)
        fit = bisect_left(room, (size, -1))
        left, row = room.pop(fit) if fit < len(room) else (row_tokens, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(i)
        insort(room, (left - size, row))
    return rows


@torch.inference_mode()
def require_isolation(model: LanguageModel, rows: Rows) -> None:
    """Raise unless documents of one row are computed as if each were alone.

    It is tried on a row that holds several. Architectures with a running state, or with an
    attention of their own, may look across.

    Raises:
        InvalidConfig: They see each other.
    """
    starts_RT = rows.position_RT == 0
    number = int(starts_RT.sum(dim=1).argmax())
    starts = starts_RT[number].nonzero().flatten().tolist()
    if len(starts) < 2:
        return
    begin, end = starts[1], starts[2] if len(starts) > 2 else rows.token_RT.shape[1]
    tokens = rows.token_RT[number : number + 1, :end].to(model.device)
    positions = rows.position_RT[number : number + 1, :end].to(model.device)
    packed = model.module(input_ids=tokens, position_ids=positions, use_cache=False).logits
    alone = model.module(input_ids=tokens[:, begin:], use_cache=False).logits
    apart = (packed[:, begin:] - alone).abs().max().item()
    bound = 1e3 * torch.finfo(alone.dtype).eps * max(1.0, alone.abs().max().item())
    if apart > bound:
        kind = type(model.module).__name__
        raise InvalidConfig(
            f"{kind} lets documents of one row see each other (logits differ by {apart:.2g}, "
            f"allowed {bound:.2g}); give each a row of its own: packed=False, or --no-packed"
        )
