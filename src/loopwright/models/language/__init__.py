"""Language models from disk: Hugging Face folders and our own candidates, through one door."""

from __future__ import annotations

from loopwright.models.language.loading import load
from loopwright.models.language.model import LanguageModel, Message
from loopwright.models.language.sample import Generation, Piece, Sampling

__all__ = ["Generation", "LanguageModel", "Message", "Piece", "Sampling", "load"]
