"""What a seed asks to be painted: a row of the emoji, drawn from the list of its split.

Train seeds ask for what a model may learn from, as often as it is shown in training. In the whole
task half of the gate and of the sealed seeds ask for something seen, and half for an unseen
composition (skin tone, gender of a role, colour of an object), every emoji of those lists alike:
gate seeds from the frozen lists ``tune``, sealed seeds from the lists ``report``. The leak controls
(concepts and flags that nobody can know) are left out: no painter can earn anything there.

A task of a few groups has hardly any unseen composition. There gate and sealed seeds ask for what
may be learned too, each for its own half of it: it measures how well the shown is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Split, split_of
from loopwright.core.seeds import generator
from loopwright.scenarios.emoji.corpus import Emoji
from loopwright.scenarios.emoji.splits import Kind, Part, Splits, sampling_weights

SEEN_SHARE = 0.5
"""Share of gate and sealed seeds that ask for something seen."""
UNSEEN: tuple[Kind, ...] = ("tone", "gender", "colour")
"""Lists of unseen compositions that the others ask for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Items:
    """Rows to ask for, and how often."""

    rows: np.ndarray
    """int64 ``(N,)``."""
    chance: np.ndarray
    """float64 ``(N,)``, summing to one."""

    def at(self, seed: int) -> int:
        """Return the row that a seed asks for."""
        drawn = generator(seed, "emoji", "item").random()
        place = np.searchsorted(np.cumsum(self.chance), drawn, side="right")
        return int(self.rows[min(int(place), len(self.rows) - 1)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Asking:
    """Which items each split of seeds asks for."""

    items: Mapping[Split, Items]

    def item(self, seed: int) -> int:
        """Return the row that a seed asks for."""
        return self.items[split_of(seed)].at(seed)

    @classmethod
    def of(
        cls, emoji: Emoji, splits: Splits, *, language: str = "en", groups: Sequence[str] = ()
    ) -> Asking:
        """Draw up the lists.

        Args:
            emoji: The emoji, of one style.
            splits: What is held out.
            language: Of the instructions.
            groups: Unicode groups to ask for, without skin tones; all, if there are none.

        Raises:
            InvalidConfig: A list is empty.
        """
        shown = splits.train_rows(emoji, language)
        items: dict[Split, Items] = {}
        if groups:
            shown = shown[np.isin(emoji.group[shown], groups) & (emoji.tones[shown, 0] == 0)]
            items["gate"], items["sealed"] = _evenly(shown[::2]), _evenly(shown[1::2])
        else:
            items["gate"] = _mixed(emoji, splits, "tune", language)
            items["sealed"] = _mixed(emoji, splits, "report", language)
        items["train"] = Items(rows=shown, chance=sampling_weights(emoji, shown))
        if empty := [split for split, found in items.items() if not len(found.rows)]:
            raise InvalidConfig(
                f"no emoji of {', '.join(groups) or 'any group'} can be asked for by {empty} "
                f"seeds; the groups are {sorted(set(emoji.group))}"
            )
        return cls(items=items)


def _evenly(rows: np.ndarray) -> Items:
    return Items(rows=rows, chance=np.full(len(rows), 1 / max(1, len(rows))))


def _mixed(emoji: Emoji, splits: Splits, part: Part, language: str) -> Items:
    seen = splits.rows(emoji, "seen", part, language)
    unseen = np.concatenate([splits.rows(emoji, kind, part, language) for kind in UNSEEN])
    shares = ((seen, SEEN_SHARE), (unseen, 1 - SEEN_SHARE))
    chances = [np.full(len(rows), share / max(1, len(rows))) for rows, share in shares]
    return Items(rows=np.concatenate([seen, unseen]), chance=np.concatenate(chances))
