"""Which sequences are near copies of each other: local alignment, and clusters by it.

Smith & Waterman, "Identification of common molecular subsequences" (1981), with the scores of
BLOSUM62 (Henikoff & Henikoff, 1992) and a price for each residue that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEAR = 0.3
"""Sequences that share this part of the shorter one are near copies."""
_GAP = -6
_ORDER = "ARNDCQEGHILKMFPSTWYV"
_BLOSUM62 = """
 4 -1 -2 -2  0 -1 -1  0 -2 -1 -1 -1 -1 -2 -1  1  0 -3 -2  0
-1  5  0 -2 -3  1  0 -2  0 -3 -2  2 -1 -3 -2 -1 -1 -3 -2 -3
-2  0  6  1 -3  0  0  0  1 -3 -3  0 -2 -3 -2  1  0 -4 -2 -3
-2 -2  1  6 -3  0  2 -1 -1 -3 -4 -1 -3 -3 -1  0 -1 -4 -3 -3
 0 -3 -3 -3  9 -3 -4 -3 -3 -1 -1 -3 -1 -2 -3 -1 -1 -2 -2 -1
-1  1  0  0 -3  5  2 -2  0 -3 -2  1  0 -3 -1  0 -1 -2 -1 -2
-1  0  0  2 -4  2  5 -2  0 -3 -3  1 -2 -3 -1  0 -1 -3 -2 -2
 0 -2  0 -1 -3 -2 -2  6 -2 -4 -4 -2 -3 -3 -2  0 -2 -2 -3 -3
-2  0  1 -1 -3  0  0 -2  8 -3 -3 -1 -2 -1 -2 -1 -2 -2  2 -3
-1 -3 -3 -3 -1 -3 -3 -4 -3  4  2 -3  1  0 -3 -2 -1 -3 -1  3
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4 -2  2  0 -3 -2 -1 -2 -1  1
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5 -1 -3 -1  0 -1 -3 -2 -2
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5  0 -2 -1 -1 -1 -1  1
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6 -4 -2 -2  1  3 -1
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7 -1 -1 -4 -3 -2
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4  1 -3 -2 -2
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5 -2 -2  0
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11  2 -3
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7 -1
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""
_SCORE = np.array(_BLOSUM62.split(), dtype=np.int32).reshape(20, 20)


def identity(one: str, other: str) -> float:
    """Return the share of the shorter sequence that is the same in the best local alignment."""
    if not one or not other:
        return 0.0
    first, second = _numbers(one), _numbers(other)
    # One diagonal after the other: all its cells depend on the two before alone.
    rows, columns = len(first), len(second)
    score = np.zeros((3, rows + 1), dtype=np.int32)
    same = np.zeros((3, rows + 1), dtype=np.int32)
    best = (0, 0)
    for diagonal in range(2, rows + columns + 1):
        now, last, before = diagonal % 3, (diagonal - 1) % 3, (diagonal - 2) % 3
        low, high = max(1, diagonal - columns), min(rows, diagonal - 1)
        row = np.arange(low, high + 1)
        here, there = first[row - 1], second[diagonal - row - 1]
        choices = np.stack(
            [
                score[before, row - 1] + _SCORE[here, there],
                score[last, row - 1] + _GAP,
                score[last, row] + _GAP,
                np.zeros(len(row), dtype=np.int32),
            ]
        )
        shared = np.stack(
            [
                same[before, row - 1] + (here == there),
                same[last, row - 1],
                same[last, row],
                np.zeros(len(row), dtype=np.int32),
            ]
        )
        chosen = choices.argmax(axis=0), np.arange(len(row))
        score[now], same[now] = 0, 0
        score[now, row], same[now, row] = choices[chosen], shared[chosen]
        top = int(score[now].argmax())
        best = max(best, (int(score[now, top]), int(same[now, top])))
    return best[1] / min(rows, columns)


def clusters(sequences: Sequence[str], *, near: float = NEAR) -> list[int]:
    """Return the number of the cluster of each sequence: near copies and their near copies."""
    cluster = list(range(len(sequences)))
    for i, one in enumerate(sequences):
        for j in range(i):
            if cluster[i] != cluster[j] and identity(one, sequences[j]) >= near:
                old, new = max(cluster[i], cluster[j]), min(cluster[i], cluster[j])
                cluster = [new if number == old else number for number in cluster]
    return cluster


def _numbers(sequence: str) -> np.ndarray:
    return np.array([_ORDER.index(letter) for letter in sequence])
