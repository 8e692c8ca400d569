"""A shuffled order of steps in which a few episodes are open at a time, each opened once.

A step drawn from anywhere nearly always lies in an episode that is not open, and opening one costs
more than reading a step of it: its files are held against their digests. Drawing from a few open
episodes until one is used up spreads that over all its steps.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

import numpy as np


def shuffled_steps(begins: Sequence[int], *, at_once: int, seed: int) -> Iterator[int]:
    """Yield every step once, drawn at random from ``at_once`` episodes at a time.

    Episodes come in random order. Each draw takes one of the open episodes, the longer the more
    often, so that long and short ones last alike; and of that one any step that is left. One that
    is used up makes room for the next. When no more are waiting, what is left is shuffled as a
    whole, so the end of an epoch is as mixed as the rest.

    Args:
        begins: Index of each episode's first step, and behind them the number of all steps.
        at_once: Most episodes that have begun and not ended.
        seed: Another one gives another order; the same gives the same.
    """
    random = np.random.default_rng(seed)
    waiting = iter(random.permutation(len(begins) - 1).tolist())

    def steps_of(place: int) -> list[int]:
        begin, end = begins[place], begins[place + 1]
        return (begin + random.permutation(end - begin)).tolist()

    left = [steps_of(place) for place in islice(waiting, at_once)]
    lengths = [len(steps) for steps in left]
    for place in waiting:
        ends = list(accumulate(lengths))
        while True:
            turn = bisect(ends, random.random() * ends[-1])
            yield left[turn].pop()
            if not left[turn]:
                break
        left[turn] = steps_of(place)
        lengths[turn] = len(left[turn])
    yield from random.permutation([step for steps in left for step in steps]).tolist()
