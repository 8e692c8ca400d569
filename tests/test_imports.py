"""Laws of importing: what starts fast stays light, and importing never does anything else.

How long an import takes is measured in ``benchmarks/startup.py``; what makes it long is tested
here, because a test of seconds fails on a busy machine and this one does not.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.core import errors

ROOT = Path(__file__).parents[1]
PACKAGE = Path(loopwright.__file__).parent
HEAVY = ("torch", "mujoco", "metaworld", "gymnasium", "pyarrow", "av", "matplotlib", "scipy", "ray")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "loopwright.")
    if not module.name.endswith("__main__")
)


def fresh(code: str, *, cwd: Path | None = None) -> Any:
    """Run code in a fresh interpreter and return the JSON of its last line of output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded_after(code: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter holds after running code."""
    return set(
        fresh(
            f"{code}\nimport json, sys\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
        )
    )


class TestWeight:
    def test_the_package_imports_none_of_the_heavy_libraries(self) -> None:
        assert loaded_after("import loopwright") == set()

    def test_core_imports_none_of_the_heavy_libraries(self) -> None:
        core = [m for m in MODULES if m.startswith("loopwright.core")]
        assert loaded_after(f"import {', '.join(core)}") == set()

    @pytest.mark.skipif("loopwright.cli" not in MODULES, reason="the command line is not built yet")
    def test_help_imports_none_of_the_heavy_libraries(self) -> None:
        code = """
        import contextlib, io, sys
        from loopwright.cli import main
        sys.argv = ["loopwright", "--help"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
        """
        assert loaded_after(textwrap.dedent(code)) == set()

    def test_core_needs_numpy_and_the_standard_library_only(self) -> None:
        allowed = set(sys.stdlib_module_names) | {"numpy", "loopwright"}
        foreign = {
            f"{path.name}: {name}"
            for path in (PACKAGE / "core").rglob("*.py")
            for name in _imported(path)
            if name.partition(".")[0] not in allowed
        }
        assert foreign == set()


def _imported(path: Path) -> set[str]:
    """Return the full names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


SIDE_EFFECTS = """
import importlib, json, logging, os, random, sys, threading
from pathlib import Path

# What a third-party library does when it is imported is its own affair: import them first.
for name in {third_party}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
import numpy
torch = sys.modules.get("torch")

def state():
    return {{
        "environment": dict(os.environ),
        "threads": sorted(t.name for t in threading.enumerate()),
        "files": sorted(str(p) for p in Path.cwd().rglob("*")),
        "random": repr(random.getstate()) + repr(numpy.random.get_state()),
        "log handlers": repr(logging.getLogger().handlers),
        "working folder": os.getcwd(),
        "torch": None if torch is None else [
            torch.get_num_threads(), torch.initial_seed(), str(torch.get_default_dtype()),
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
        ],
    }}

changed = []
before = state()
for name in {modules}:
    importlib.import_module(name)
    after = state()
    changed += [f"{{name}} changes: {{key}}" for key in after if after[key] != before[key]]
    before = after
print(json.dumps(changed))
"""


class TestSideEffects:
    @pytest.mark.slow
    def test_importing_any_module_changes_nothing(self, tmp_path: Path) -> None:
        third_party = sorted(
            name
            for name in set().union(*(_imported(path) for path in PACKAGE.rglob("*.py")))
            if name.partition(".")[0] not in {*sys.stdlib_module_names, "loopwright"}
        )
        code = SIDE_EFFECTS.format(third_party=third_party, modules=MODULES)
        assert fresh(code, cwd=tmp_path) == []


def _drawn_tree() -> dict[str, str | None]:
    """Return error name to parent name, as drawn in the docstring of ``core/errors.py``."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ]*)(?:[├└]── )?([A-Z]\w+)", line)
        if match is None:
            continue
        depth = line.index(match[2]) // 4 - 1
        path = [*path[:depth], match[2]]
        parents[match[2]] = path[-2] if len(path) > 1 else None
    return parents


class TestErrors:
    def test_the_drawn_tree_is_the_real_one(self) -> None:
        real = {
            name: None if kind is errors.LoopwrightError else kind.__base__.__name__
            for name, kind in vars(errors).items()
            if inspect.isclass(kind) and issubclass(kind, errors.LoopwrightError)
        }
        assert _drawn_tree() == real

    def test_every_error_says_what_it_is_for(self) -> None:
        undocumented = [
            name
            for name, kind in vars(errors).items()
            if inspect.isclass(kind) and issubclass(kind, Exception) and "__doc__" not in vars(kind)
        ]
        assert undocumented == []


SYNONYMS = {
    "util", "utils", "helper", "helpers", "manager", "misc", "common",
    "rollout", "rollouts", "trajectory", "trajectories", "challenge", "winner",
}  # fmt: skip


class TestVocabulary:
    def test_no_public_name_uses_a_synonym(self) -> None:
        """Files, classes and functions use the words of the vocabulary and no others."""
        found = {
            f"{path.relative_to(PACKAGE)}: {name}"
            for path in PACKAGE.rglob("*.py")
            for name in _public_names(path)
            if SYNONYMS & set(_words(name))
        }
        assert found == set()


def _public_names(path: Path) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    names = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [path.stem, *(name for name in names if not name.startswith("_"))]


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


VIOLATIONS = [
    ("core", "import rich", "core needs NumPy and nothing else"),
    ("core", "import loopwright.store", "Floors"),
    ("store", "import loopwright.models", "Floors"),
    ("train", "import loopwright.scenarios", "Floors"),
    ("store", "import torch", "torch stays out"),
    ("compute", "def f():\n    import torch", "torch stays out"),
    ("report", "import loopwright.models.layers.transformer", "torch stays out"),
    ("loop", "import torch", "torch is imported in"),
    ("cli", "import torch", "torch is imported in"),
    ("train", "import mujoco", "simulators are imported in"),
    ("models", "import gymnasium", "simulators are imported in"),
    ("loop", "import ray", "ray is imported in"),
    ("safety/directive", "import loopwright.safety.reports", "who approves, deploys or grounds"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("room", "line", "contract"), VIOLATIONS)
def test_a_contract_breaks_when_it_is_violated(
    tmp_path: Path, room: str, line: str, contract: str
) -> None:
    """A contract that cannot fail protects nothing."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / "src" / "loopwright" / room / "__init__.py").open("a") as file:
        file.write(f"\n{line}\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    assert done.returncode != 0
    assert any(text.startswith(contract) for text in broken), done.stdout
