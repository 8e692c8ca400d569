"""Finding recipes: built in, from an entry point, or in a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from loopwright.core.errors import InvalidConfig, LoopwrightError, UnknownName
from loopwright.core.source import described, import_file, is_file_reference, split_reference
from loopwright.core.stage import resolve_entry
from loopwright.loop.config import LoopConfig
from loopwright.recipes.training import Training

_BUILT_IN = {
    "smoke": "loopwright.recipes.smoke:smoke",
    "smoke-certified": "loopwright.recipes.smoke:smoke_certified",
    "button-press": "loopwright.recipes.button_press:button_press",
    "button-press-long": "loopwright.recipes.button_press:button_press_long",
    "emoji": "loopwright.recipes.emoji:emoji",
    "emoji-caption": "loopwright.recipes.emoji:emoji_caption",
    "emoji-caption-tiny": "loopwright.recipes.emoji:emoji_caption_tiny",
    "emoji-tiny": "loopwright.recipes.emoji:emoji_tiny",
}
_TRAININGS = {
    "structure.tiny": "loopwright.recipes.structure:tiny",
    "wudao.tiny": "loopwright.recipes.wudao:tiny",
    "wudao.laptop": "loopwright.recipes.wudao:laptop",
    "wudao.laptop-dense": "loopwright.recipes.wudao:laptop_dense",
    "wudao.gpu": "loopwright.recipes.wudao:gpu",
    "wudao.cluster-1b": "loopwright.recipes.wudao:cluster_1b",
    "wudao.cluster-1t": "loopwright.recipes.wudao:cluster_1t",
}
_ENTRY_POINTS = "loopwright.recipes"


def recipe_names() -> list[str]:
    """Return every name that :func:`get_recipe` finds, in order."""
    return sorted({*_BUILT_IN, *(p.name for p in metadata.entry_points(group=_ENTRY_POINTS))})


def training_names() -> list[str]:
    """Return the built-in names that :func:`get_training` finds, in order."""
    return sorted(_TRAININGS)


def get_training(name: str) -> Training:
    """Return the training that a recipe stands for.

    Args:
        name: A built-in name, that of an entry point, or a file, as for :func:`get_recipe`.

    Raises:
        UnknownName: There is no such recipe; a near one is suggested.
        InvalidConfig: What was found is no training.
    """
    found = find_recipe(name, {**_BUILT_IN, **_TRAININGS}, training_names())()
    if not isinstance(found, Training):
        raise InvalidConfig(
            f"recipe {name!r} is a {type(found).__name__}, expected a Training; "
            "a whole loop is run by 'loopwright run'"
        )
    return found


def get_recipe(name: str) -> LoopConfig:
    """Return the configuration that a recipe stands for.

    Args:
        name: A built-in name, the name of an entry point of the group ``loopwright.recipes``, or
            a file ``path/to/recipe.py``, optionally with ``:function`` (``recipe`` by default).

    Raises:
        UnknownName: There is no such recipe; a near one is suggested.
        InvalidConfig: What was found is no recipe.
    """
    config = find_recipe(name, {**_BUILT_IN, **_TRAININGS}, recipe_names())()
    if not isinstance(config, LoopConfig):
        raise InvalidConfig(
            f"recipe {name!r} is a {type(config).__name__}, expected a LoopConfig; "
            "a training is started by 'loopwright train'"
        )
    return config


def find_recipe(name: str, built_in: dict[str, str], known: list[str]) -> Callable[[], Any]:
    """Return the function behind a built-in name, an entry point or ``path.py[:function]``.

    Args:
        name: What was typed.
        built_in: Name to ``"module:function"``.
        known: Names to suggest, should there be none of that name.

    Raises:
        UnknownName: There is no such recipe; a near one is suggested.
        InvalidConfig: The file is missing or cannot be imported, or has no such function; the
            function it returns raises the same for what the file's function raises.
    """
    if is_file_reference(name):
        return _from_file(*split_reference(name, "recipe"))
    if name in built_in:
        return resolve_entry(built_in[name])
    for point in metadata.entry_points(group=_ENTRY_POINTS):
        if point.name == name:
            return point.load()
    raise UnknownName("recipe", name, known)


def _from_file(path: Path, function: str) -> Callable[[], Any]:
    if not path.is_file():
        raise InvalidConfig(f"recipe file {str(path)!r} does not exist; 'loopwright new' makes one")
    found = getattr(import_file(path, "recipe"), function, None)
    if not callable(found):
        raise InvalidConfig(f"{path} has no function {function!r}; a recipe file defines one")

    def called() -> Any:
        try:
            return found()
        except LoopwrightError:
            raise
        except Exception as error:
            raise InvalidConfig(
                f"{function}() of recipe file {path} raised {described(error, path.resolve())}"
            ) from error

    return called
