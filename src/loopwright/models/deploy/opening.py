"""One door to every model that speaks or paints."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.models.language import LanguageModel
from loopwright.models.language import load as load_language
from loopwright.models.language.candidate import FAMILY as LANGUAGE
from loopwright.models.wudao.sample import FAMILY as TEXT_PICTURE
from loopwright.models.wudao.sample import TextPictureModel

AnyModel = LanguageModel | TextPictureModel


def open_model(folder: Path) -> AnyModel:
    """Load a candidate of any family that speaks or paints, or a Hugging Face folder.

    Raises:
        InvalidConfig: There is no such folder, or what lies there neither speaks nor paints.
        UnsafeCandidate: It holds a pickle, a link, or an undeclared file; it is named.
        DamagedData: A file is corrupt or truncated; it is named.
        MissingExtra: A library that the family needs is not installed.
    """
    if not folder.is_dir():
        raise InvalidConfig(f"{folder} is no folder; expected the folder of a candidate or model")
    if not (folder / MANIFEST_NAME).is_file():
        return load_language(folder)
    candidate = Candidate.open(folder)
    if candidate.family == LANGUAGE:
        return load_language(folder)
    if candidate.family == TEXT_PICTURE:
        return open_text_picture(folder, candidate)
    raise InvalidConfig(
        f"{folder} is a candidate of the family {candidate.family!r}; "
        f"expected {LANGUAGE!r} or {TEXT_PICTURE!r}"
    )


def open_text_picture(folder: Path, candidate: Candidate | None = None) -> TextPictureModel:
    """Load a model that paints and writes; see :func:`open_model` for what is refused."""
    if not folder.is_dir():
        raise InvalidConfig(f"{folder} is no folder; expected the folder of a candidate")
    try:
        return TextPictureModel.load(folder, candidate)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "tokenizers", "language", "reading words") from error


def digest_of(folder: Path) -> str:
    """Return the digest by which a model folder, ours or another's, is known."""
    from loopwright.models.language.loading import digest_of

    return digest_of(folder)


def name_of(folder: Path) -> str:
    """Return what to call the model of a folder: a training keeps its own in ``candidate``."""
    place = folder.resolve()
    return place.parent.name if place.name == "candidate" else place.name
