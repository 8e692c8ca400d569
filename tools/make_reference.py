"""Write ``docs/reference`` from the code: the verbs of the command line, and the public types.

Usage: ``python tools/make_reference.py`` (or ``make reference``); with ``--check`` it only says
what is out of date, which a test does.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from loopwright import cli

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
COMMAND_LINE = ROOT / "docs/reference/command-line.md"
API = ROOT / "docs/reference/api.md"

PUBLIC = {
    "The vocabulary": [
        "loopwright.core.scenario",
        "loopwright.core.interface",
        "loopwright.core.episode",
        "loopwright.core.policy",
        "loopwright.core.learner",
        "loopwright.core.canvas",
        "loopwright.core.control",
        "loopwright.core.stage",
        "loopwright.core.seeds",
        "loopwright.core.digest",
        "loopwright.core.errors",
    ],
    "Statistics": ["loopwright.core.statistics", "loopwright.core.sequential"],
    "Finding and making things": [
        "loopwright.scenarios.registry",
        "loopwright.scenarios.gymnasium.scenario",
        "loopwright.scenarios.judgement",
        "loopwright.scenarios.check",
        "loopwright.recipes.registry",
        "loopwright.models.registry",
        "loopwright.models.adapters.adopt",
        "loopwright.models.adapters.python_function",
        "loopwright.models.adapters.lerobot",
    ],
    "Running a loop": [
        "loopwright.loop.config",
        "loopwright.loop.gate",
        "loopwright.store.workspace",
        "loopwright.store.corpus",
    ],
    "Keeping robots safe": [
        "loopwright.safety.body",
        "loopwright.safety.limits",
        "loopwright.safety.decision",
        "loopwright.safety.ladder.filter",
        "loopwright.safety.blackbox.recorder",
        "loopwright.safety.blackbox.flight",
        "loopwright.safety.blackbox.replay",
        "loopwright.safety.guard.config",
        "loopwright.safety.guard.cell",
        "loopwright.safety.guard.actuators",
        "loopwright.safety.certificate.verify",
        "loopwright.safety.register",
        "loopwright.safety.directive.orders",
        "loopwright.safety.directive.watch",
    ],
    "Training models": [
        "loopwright.recipes.training",
        "loopwright.train.trainer",
        "loopwright.train.parallel.config",
        "loopwright.train.parallel.start",
        "loopwright.train.parallel.spread",
        "loopwright.train.finetune.config",
        "loopwright.train.finetune.run",
        "loopwright.train.evaluate.task",
        "loopwright.train.evaluate.run",
        "loopwright.models.check",
    ],
    "Models": [
        "loopwright.models.layers.transformer",
        "loopwright.models.layers.mixture",
        "loopwright.models.wudao.sample",
        "loopwright.models.language.loading",
        "loopwright.models.language.model",
        "loopwright.models.language.sample",
    ],
}

COMMAND_LINE_HEAD = """# Command line

Written by `make reference` from the code.

`loopwright VERB --help` says the same at the terminal. Data goes to stdout, progress to stderr;
`--json` is for machines; `NO_COLOR` is honoured.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it failed; the message says what to do |
| 2 | the command was typed wrong |
| 130 | interrupted; running it again goes on from there |
"""

API_HEAD = """# Programming interface

Written by `make reference` from the code: every public name of the modules that users and plug-in
authors meet, with the first line of its docstring. The rest of a docstring has shapes, units and
errors: `python -c "help('loopwright.core.scenario')"`.
"""


def command_line() -> str:
    """Return the page about the verbs."""
    return "\n".join([COMMAND_LINE_HEAD, *(_verb(name) for name in cli.VERBS)])


def _verb(name: str) -> str:
    function = importlib.import_module(cli.module_of(name)).main
    summary, meanings = _docstring(inspect.getdoc(function) or "")
    usage, rows = [f"loopwright {name}"], []
    kinds = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        meaning = meanings.get(parameter.name, "").replace("|", "\\|")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            required = parameter.default is parameter.empty
            word = parameter.name.upper()
            usage.append(word if required else f"[{word}]")
            rows.append(f"| `{word}` | {'' if required else 'optional'} | {meaning} |")
            continue
        if is_dataclass(kinds[parameter.name]):
            rows += _group(kinds[parameter.name])
            continue
        option = "--" + parameter.name.removesuffix("_output").replace("_", "-")
        if parameter.default is parameter.empty:
            usage.append(f"{option} {parameter.name.upper()}")
            rows.append(f"| `{option}` | required | {meaning} |")
        else:
            rows.append(f"| `{option}` | {_default(parameter.default)} | {meaning} |")
    table = ["| argument | default | meaning |", "|---|---|---|", *rows]
    return "\n".join([f"## {name}", "", f"`{' '.join(usage)}`", "", summary, "", *table, ""])


def _group(kind: type) -> Iterator[str]:
    """Yield the rows of arguments that several verbs share: the fields of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings = {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    for item in fields(kind):
        option = "--" + item.name.replace("_", "-")
        meaning = meanings.get(item.name, "").replace("|", "\\|")
        yield f"| `{option}` | {_field_default(item)} | {meaning} |"


def _field_default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return _default(item.default)
    return _default(item.default_factory()) if item.default_factory is not MISSING else "required"


def _default(value: object) -> str:
    if value is False or value is None or value == "":
        return ""
    return f"`{value}`"


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what stands before ``Args:``, and each argument's meaning on one line."""
    summary, _, rest = text.partition("\nArgs:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            name = match[1]
            meanings[name] = match[2]
        elif line.startswith("        ") and name:
            meanings[name] += " " + line.strip()
        else:
            break
    return " ".join(summary.split()), meanings


def api() -> str:
    """Return the page about the public types."""
    parts = [API_HEAD]
    for title, modules in PUBLIC.items():
        parts += [f"## {title}", "", *(_module(name) for name in modules)]
    return "\n".join(parts).rstrip() + "\n"


def _module(name: str) -> str:
    path = SOURCE / (name.replace(".", "/") + ".py")
    tree = ast.parse(path.read_text())
    rows = [f"| `{shown}` | {_first_line(node)} |" for shown, node in _public(tree)]
    table = ["| name | |", "|---|---|", *rows]
    return "\n".join([f"### {name}", "", _first_line(tree), "", *table, ""])


def _public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{node.name}({', '.join(_arguments(node.args))})", node


def _arguments(arguments: ast.arguments) -> list[str]:
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    names += [a.arg for a in arguments.kwonlyargs]
    return names + ([f"**{arguments.kwarg.arg}"] if arguments.kwarg else [])


def _first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    text = (ast.get_docstring(node) or "").split("\n\n")[0]
    plain = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    return plain.replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {COMMAND_LINE: command_line(), API: api()}


def main(*, check: bool) -> int:
    """Write the pages, or only say which are out of date; return the exit code."""
    stale = 0
    for page, text in pages().items():
        if check and (not page.exists() or page.read_text() != text):
            print(f"{page.relative_to(ROOT)} is out of date")
            stale = 1
        elif not check:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text)
            print(page.relative_to(ROOT))
    return stale


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
