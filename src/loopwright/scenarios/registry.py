"""Finding a scenario by name, by entry point or by path."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from loopwright.core.errors import InvalidConfig, MissingExtra, UnknownName
from loopwright.core.scenario import Scenario
from loopwright.core.source import (
    entry_digest,
    existing,
    import_file,
    source_digest,
    split_reference,
)
from loopwright.scenarios.emoji.captioning import TASKS as CAPTIONS
from loopwright.scenarios.emoji.captioning import EmojiCaption
from loopwright.scenarios.emoji.painting import TASKS as PAINTINGS
from loopwright.scenarios.emoji.painting import EmojiPaint
from loopwright.scenarios.metaworld.catalogue import TASKS as MANIPULATION
from loopwright.scenarios.metaworld.task import MetaWorldTask
from loopwright.scenarios.point.scenario import PointReach
from loopwright.scenarios.warehouse.task import TASKS as WAREHOUSE
from loopwright.scenarios.warehouse.task import WarehouseTask

ENTRY_POINT_GROUP = "loopwright.scenarios"
_SCENARIO_MEMBERS = sorted(name for name in vars(Scenario) if not name.startswith("_"))
_METAWORLD_PACKAGES = ("mujoco", "metaworld", "gymnasium", "packaging")
_WAREHOUSE_PACKAGES = ("mujoco", "mink", "ruckig")


def _metaworld(task: MetaWorldTask) -> Scenario:
    _require(task.id, _METAWORLD_PACKAGES, "metaworld")
    from loopwright.scenarios.metaworld.scenario import MetaWorldScenario

    return MetaWorldScenario(task=task)


def _warehouse(work: WarehouseTask) -> Scenario:
    _require(work.id, _WAREHOUSE_PACKAGES, "robot")
    from loopwright.scenarios.warehouse.scenario import WarehouseScenario

    return WarehouseScenario(task=work)


_BUILT_IN: dict[str, Callable[[], Scenario]] = {
    PointReach.id: PointReach,
    **{task.id: partial(EmojiPaint, task) for task in PAINTINGS},
    **{task.id: partial(EmojiCaption, task) for task in CAPTIONS},
    **{task.id: partial(_metaworld, task) for task in MANIPULATION},
    **{task.id: partial(_warehouse, task) for task in WAREHOUSE},
}


def scenario_names() -> list[str]:
    """Return every name that :func:`get_scenario` knows without a path, sorted."""
    return sorted({*_BUILT_IN, *_entry_points()})


def get_scenario(ref: str) -> Scenario:
    """Return the scenario that ``ref`` names.

    Args:
        ref: A built-in id (``"button-press-v1"``), the name of an entry point of the group
            ``loopwright.scenarios``, or the path of a Python file that has an attribute
            ``scenario`` (``"my/scenario.py"``; ``"my/scenario.py:other"`` for another attribute),
            or the path of a regression of the fleet (``"regressions/0a1b2c3d4e5f.json"``).

    Raises:
        UnknownName: Nothing has that name; near misses are suggested.
        MissingExtra: The scenario needs a package that is not installed.
        InvalidConfig: The file cannot be imported, or holds no scenario.
    """
    if _is_path(ref):
        return _from_path(ref)
    if ref in _BUILT_IN:
        return _BUILT_IN[ref]()
    points = _entry_points()
    if ref not in points:
        raise UnknownName("scenario", ref, scenario_names())
    return _checked(points[ref].load(), ref)


def scenario_source_digest(ref: str) -> str | None:
    """Return the digest of the code behind ``ref``.

    That is the file with what it imports from beside it, or for an entry point its whole package.
    None for a built-in scenario, which the digest of Loopwright's own code covers.

    A scenario changes when its code does, so this is part of the key of every stage that uses it,
    of the run, and of the id of every episode.

    Raises:
        InvalidConfig: There is no such file.
    """
    if _is_path(ref):
        return source_digest(_split_path(ref)[0])
    if ref in _BUILT_IN or (point := _entry_points().get(ref)) is None:
        return None
    return entry_digest(point.value)


def _is_path(ref: str) -> bool:
    return "/" in ref or "\\" in ref or ref.partition(":")[0].endswith(".py")


def _split_path(ref: str) -> tuple[Path, str]:
    path, attribute = split_reference(ref, "scenario")
    return existing(path, "scenario"), attribute


def _from_path(ref: str) -> Scenario:
    path, attribute = _split_path(ref)
    if path.suffix == ".json":
        _require(ref, _WAREHOUSE_PACKAGES, "robot")
        from loopwright.scenarios.warehouse.regression import Regression, RegressionScenario

        return RegressionScenario(regression=Regression.read(path))
    module = import_file(path, "scenario")
    if not hasattr(module, attribute):
        raise InvalidConfig(f"scenario file {path} has no attribute {attribute!r}")
    return _checked(getattr(module, attribute), ref)


def _checked(found: object, ref: str) -> Scenario:
    if not isinstance(found, Scenario):
        lacking = [name for name in _SCENARIO_MEMBERS if not hasattr(found, name)]
        raise InvalidConfig(f"{ref} is a {type(found).__name__}, no scenario; it lacks {lacking}")
    return found


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _require(ref: str, packages: tuple[str, ...], extra: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra, f"scenario {ref}")
