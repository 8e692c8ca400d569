"""Using transformers without a network and without noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from loopwright.core.errors import MissingExtra

_EXTRA = "language"
_PURPOSE = "reading language models"


def import_transformers() -> ModuleType:
    """Return transformers, imported on first use because that takes seconds.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtra("transformers", _EXTRA, _PURPOSE) from error
    return transformers


def import_peft() -> ModuleType:
    """Return peft.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", _EXTRA, "an adapter") from error
    return peft


@contextmanager
def offline() -> Iterator[None]:
    """Let no request to a hub leave inside the block, and show no bars of others.

    It is the same switch as ``HF_HUB_OFFLINE``, which is read only when the library is imported.
    """
    from huggingface_hub import constants
    from transformers.utils import logging

    before, verbosity = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
