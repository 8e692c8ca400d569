"""Finding the picture that another one is most like.

Shapes: Q pictures asked about, R pictures to find, H and W pixels.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 512
"""Known pictures compared at once: at 64 px they take 50 MB."""


def nearest_pictures(asked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each picture which known one is nearest, and how near.

    Args:
        asked: uint8 ``(Q, H, W, 3)``.
        known: uint8 ``(R, H, W, 3)``, at least one.

    Returns:
        Rows of ``known`` int64 ``(Q,)``, of equal ones the first, and their root mean square
        difference in levels of 255, float ``(Q,)``.
    """
    # Whole numbers up to 2**53 are exact: equal pictures come out at 0 and not near it.
    questions = asked.reshape(len(asked), -1).astype(np.float64)
    squared = np.full(len(asked), np.inf)
    found = np.zeros(len(asked), np.int64)
    for begin in range(0, len(known), _BLOCK):
        block = known[begin : begin + _BLOCK]
        answers = block.reshape(len(block), -1).astype(np.float64)
        # Without the asked picture's own square, which changes no order.
        part = np.einsum("rp,rp->r", answers, answers) - 2 * (questions @ answers.T)
        best = part.argmin(axis=1)
        best_squared = part[np.arange(len(asked)), best]
        is_nearer = best_squared < squared
        found[is_nearer] = begin + best[is_nearer]
        squared[is_nearer] = best_squared[is_nearer]
    squared += np.einsum("qp,qp->q", questions, questions)
    return found, np.sqrt(squared / questions.shape[1])


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the root mean square difference of each pair in levels of 255, float ``(Q,)``."""
    off = one.astype(float) - other.astype(float)
    return np.sqrt(np.mean(off**2, axis=(1, 2, 3)))
