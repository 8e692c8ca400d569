"""Is it the picture that was asked for? Told by what it looks like most, of everything there is.

The judge has no learned part, so it has none in common with what paints. It compares a painting
with every picture of the asked style, those that no model may learn from included, by the squared
distance of slightly blurred pixels; right is a painting that is nearest to the asked picture.

How it was chosen, and how often it is wrong: ``docs/guides/emoji-loop.md``.

Shapes: M different pictures, S their side in pixels, D = 3 S² numbers of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from loopwright.core.episode import EpisodeHeader, Verdict
from loopwright.scenarios.emoji.corpus import Emoji
from loopwright.scenarios.emoji.world import canvas_evidence
from loopwright.scenarios.judgement import EvidenceVerifier, Judgement


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gallery:
    """Every different picture of a style, ready to be compared with."""

    looks: np.ndarray
    """float32 ``(M, D)``: what :func:`look_of` makes of each picture."""
    picture: np.ndarray
    """int ``(M,)``, ascending: ids of the pictures, as :attr:`Emoji.picture` has them."""
    name: np.ndarray
    """Object ``(M,)`` of str: what the first emoji with the picture is called."""

    @classmethod
    def of(cls, emoji: Emoji, style: str, language: str = "en") -> Gallery:
        """Hang up all pictures of a style, held-out ones too."""
        picture = np.unique(emoji.picture[emoji.style == style])
        return cls(
            looks=look_of(emoji.pixels[picture]),
            picture=picture,
            name=emoji.labels(language)[picture],
        )

    def __len__(self) -> int:
        """Return M."""
        return len(self.picture)

    def distances(self, painting: np.ndarray) -> np.ndarray:
        """Return how far a painting ``(S, S, 3)`` in 0..255 is from every picture, ``(M,)``."""
        return np.square(self.looks - look_of(painting[None])).sum(axis=1)

    def rank(self, distance: np.ndarray, picture: int) -> int:
        """Return the place of a picture among all by distance; 1 is the nearest, and alone so."""
        mine = int(np.searchsorted(self.picture, picture))
        return int((distance <= distance[mine]).sum())


def look_of(pictures: np.ndarray) -> np.ndarray:
    """Return what counts of pictures ``(N, S, S, 3)`` in 0..255: blurred colours ``(N, D)``.

    Each pixel is mixed with its neighbours, 1 2 1 in both directions, so that an edge a fraction
    of a pixel off is nearly the same edge.
    """
    blurred = pictures.astype(np.float32) / 255
    for axis in (1, 2):
        padded = np.pad(blurred, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
        before, here, after = (
            padded.take(range(first, first + blurred.shape[axis]), axis=axis) for first in range(3)
        )
        blurred = (before + 2 * here + after) / 4
    return blurred.reshape(len(pictures), -1)


class RetrievalVerifier:
    """A painting is right when no other picture is as near to it as the asked one."""

    name = "emoji-retrieval/1"

    def __init__(
        self,
        side_px: int,
        gallery: Callable[[], Gallery],
        asked: Callable[[EpisodeHeader], int | None],
    ) -> None:
        """Choose what to compare with.

        Args:
            side_px: Side of the pictures.
            gallery: Returns the pictures; called for the first verdict.
            asked: Returns the id of the picture that an episode was to paint; None when its
                header contradicts itself.
        """
        self._side_px, self._gallery, self._asked = side_px, gallery, asked

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one painting from its rows ``(S, 3 S)``; the score is one over its rank."""
        judged = EvidenceVerifier(
            name=self.name,
            columns=canvas_evidence(self._side_px),
            judge=partial(self._judge, header),
        )
        return judged(header, evidence)

    def _judge(self, header: EpisodeHeader, columns: Mapping[str, np.ndarray]) -> Judgement:
        rows = np.stack(list(columns.values()), axis=1)
        if len(rows) != self._side_px:
            return Judgement.unknown(f"{len(rows)} of {self._side_px} rows were painted")
        if rows.min() < 0 or rows.max() > 255:
            return Judgement.unknown("the evidence holds colours outside 0 to 255")
        asked = self._asked(header)
        if asked is None:
            return Judgement.unknown("the instruction is not what the item of the start is called")
        return self._ranked(rows.reshape(self._side_px, self._side_px, 3), asked)

    def _ranked(self, painting: np.ndarray, asked: int) -> Judgement:
        gallery = self._gallery()
        distance = gallery.distances(painting)
        rank, nearest = gallery.rank(distance, asked), gallery.name[int(distance.argmin())]
        if rank == 1:
            reason = f"of {len(gallery)} pictures it looks most like the asked one"
            return Judgement(outcome="success", score=1.0, reason=reason)
        reason = (
            f"it looks most like {nearest!r}; the asked picture comes {rank}. of {len(gallery)}"
        )
        return Judgement(outcome="failure", score=1 / rank, reason=reason)
