"""Recipes from files: what is wrong with one is said, not thrown."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.core.errors import InvalidConfig
from loopwright.recipes.registry import get_recipe

RECIPE = """
from __future__ import annotations
from dataclasses import dataclass, replace
from loopwright.recipes.smoke import smoke


@dataclass
class Wish:
    name: str = "mine"


def recipe():
    return replace(smoke(), name=Wish().name)


def worse():
    return smoke().no_such_attribute


def odd():
    return 7


def asks(more):
    return smoke()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE)
    return path


def test_a_recipe_file_may_define_dataclasses(file: Path) -> None:
    assert get_recipe(str(file)).name == "mine"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("worse", r"worse\(\) of recipe file .*raised AttributeError: .*\(line 17\)"),
        ("asks", r"asks\(\) of recipe file .*raised TypeError: .*'more'"),
        ("odd", "is a int, expected a LoopConfig"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_what_a_recipe_does_wrong_is_said(file: Path, function: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        get_recipe(f"{file}:{function}")


def test_a_recipe_that_is_no_python_names_the_line(file: Path) -> None:
    file.write_text("def recipe(:\n    pass\n")
    with pytest.raises(InvalidConfig, match=r"cannot be imported: SyntaxError: .*line 1"):
        get_recipe(str(file))
