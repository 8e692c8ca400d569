"""A text-picture model as a policy: it reads the instruction and paints, row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loopwright.core.canvas import PaintRequest, rows_of
from loopwright.core.errors import InvalidConfig, PolicyError, UnknownName
from loopwright.core.interface import Observation
from loopwright.core.policy import Candidate, Policy
from loopwright.core.seeds import derive_seed
from loopwright.models.wudao.sample import Painting, Prompt, TextPictureModel


class PaintingPolicy:
    """Paints the whole picture in one chunk: what is on the canvas already tells it nothing."""

    def __init__(self, model: TextPictureModel, how: Painting | None = None) -> None:
        """Choose who paints, and how pictures are drawn at random."""
        self._model, self._how = model, how or Painting()
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Begin another picture."""
        self._seed = derive_seed(seed, "painting")

    def act(self, observation: Observation) -> np.ndarray:
        """Return all rows of a picture of what the instruction asks for, float32 ``(T, A)``.

        Raises:
            PolicyError: The instruction asks for no picture, or in a language or style that the
                model was never shown.
        """
        try:
            request = PaintRequest.from_instruction(observation.instruction)
            prompt = Prompt(request.text, request.language, request.style)
            (picture,) = self._model.paint([prompt], seed=self._seed, how=self._how)
        except (InvalidConfig, UnknownName) as error:
            raise PolicyError(f"a text-picture model cannot paint: {error}") from error
        return rows_of(picture)


def load(folder: Path, candidate: Candidate) -> Policy:
    """Build the policy of a checked candidate folder of the family ``wudao``."""
    return PaintingPolicy(TextPictureModel.load(folder, candidate))
