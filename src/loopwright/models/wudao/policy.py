"""A text-picture model as a policy: it paints what the instruction names, or names what it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loopwright.core.canvas import PaintRequest, rows_of
from loopwright.core.caption import PICTURE, CaptionRequest, action_of
from loopwright.core.errors import InvalidConfig, PolicyError, UnknownName
from loopwright.core.interface import Observation
from loopwright.core.policy import Candidate, Policy
from loopwright.core.seeds import derive_seed
from loopwright.models.wudao.sample import Painting, Prompt, TextPictureModel


class TextPicturePolicy:
    """Does either in one chunk: what is on a canvas already tells it nothing."""

    def __init__(self, model: TextPictureModel, how: Painting | None = None) -> None:
        """Choose the model, and how pictures are drawn at random."""
        self._model, self._how = model, how or Painting()
        self._seed = 0

    def reset(self, seed: int) -> None:
        """Begin another picture."""
        self._seed = derive_seed(seed, "painting")

    def act(self, observation: Observation) -> np.ndarray:
        """Return what the instruction asks for, float32 ``(T, A)``.

        That is all rows of a picture (:mod:`loopwright.core.canvas`), or one text about the
        picture that is seen (:mod:`loopwright.core.caption`).

        Raises:
            PolicyError: The instruction asks for neither, or in a language or style that the
                model was never shown, or the picture is of another size.
        """
        try:
            if PICTURE in observation.images:
                return self._write(observation)
            request = PaintRequest.from_instruction(observation.instruction)
            prompt = Prompt(request.text, request.language, request.style)
            (picture,) = self._model.paint([prompt], seed=self._seed, how=self._how)
        except (InvalidConfig, UnknownName) as error:
            raise PolicyError(f"a text-picture model cannot do this: {error}") from error
        return rows_of(picture)

    def _write(self, observation: Observation) -> np.ndarray:
        language = CaptionRequest.from_instruction(observation.instruction).language
        picture = _reduced(observation.images[PICTURE], self._model.pictures.config.px)
        (text,) = self._model.write(picture[None], language=language)
        return action_of(text)


def _reduced(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Return a picture ``(S, S, 3)`` with every block of pixels as one.

    Raises:
        InvalidConfig: It is no multiple of ``side_px`` large.
    """
    times, rest = divmod(len(picture), side_px)
    if rest or not times:
        raise InvalidConfig(f"the picture is {len(picture)} px and the model sees {side_px} px")
    blocks = picture.reshape(side_px, times, side_px, times, 3)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)


def load(folder: Path, candidate: Candidate) -> Policy:
    """Build the policy of a checked candidate folder of the family ``wudao``."""
    return TextPicturePolicy(TextPictureModel.load(folder, candidate))
