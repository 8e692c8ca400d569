"""Every error class of the package survives a process boundary with all that it knows."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopwright
from loopwright.core.errors import LoopwrightError

SOURCE = Path(loopwright.__file__).parent


def error_classes() -> list[type[LoopwrightError]]:
    """Return every subclass of the tree, without importing what defines none."""
    known, modules = {"LoopwrightError"}, set[str]()
    trees = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    while True:
        before = len(known)
        for path, tree in trees.items():
            for node in ast.walk(tree):
                bases = {b.id for b in getattr(node, "bases", ()) if isinstance(b, ast.Name)}
                if isinstance(node, ast.ClassDef) and bases & known:
                    known.add(node.name)
                    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
                    modules.add(".".join(parts).removesuffix(".__init__"))
        if len(known) == before:
            break
    for module in sorted(modules):
        importlib.import_module(module)
    found: list[type[LoopwrightError]] = [LoopwrightError]
    for kind in found:
        found += [each for each in kind.__subclasses__() if each not in found]
    inside = [kind for kind in found if kind.__module__.startswith("loopwright.")]
    assert {kind.__name__ for kind in inside} == known
    return sorted(inside, key=lambda kind: (kind.__module__, kind.__name__))


def values(parameter: inspect.Parameter) -> st.SearchStrategy[Any]:
    """Return what may be given for a parameter of an error's constructor."""
    annotation = str(parameter.annotation)
    simple = {
        "str": st.text(max_size=20),
        "int": st.integers(),
        "float": st.floats(allow_nan=False),
        "Iterable[str]": st.lists(st.text(max_size=8), max_size=4),
        "Flaw": st.sampled_from(["forged", "stale", "replayed", "malformed"]),
    }
    return simple[annotation.removesuffix(" | None")]


@st.composite
def errors(draw: st.DrawFn, kind: type[LoopwrightError]) -> LoopwrightError:
    if kind.__init__ is Exception.__init__:
        error = kind(draw(st.text(max_size=20)))
    else:
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
        positional = [draw(values(p)) for p in parameters if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: draw(values(p)) for p in parameters if p.kind is p.KEYWORD_ONLY}
        error = kind(*positional, **named)
    for note in draw(st.lists(st.text(max_size=8), max_size=2)):
        error.add_note(note)
    return error


def through_pickle(error: LoopwrightError) -> LoopwrightError:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("travel", [through_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=10)
def test_every_error_arrives_as_it_left(
    kind: type[LoopwrightError],
    travel: Callable[[LoopwrightError], LoopwrightError],
    data: st.DataObject,
) -> None:
    error = data.draw(errors(kind))
    arrived = travel(error)
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert arrived.args == error.args
    assert vars(arrived) == vars(error)
