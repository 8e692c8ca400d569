"""Mutation testing: change the core of the safety rooms in small ways, and see the tests notice.

A mutant that no test kills is a line that could be wrong without anybody knowing. Which files are
the core, and which tests watch each, is declared in ``tools/mutants.toml``; so are the mutants that
change nothing anybody could observe, each with the reason.

Usage::

    python tools/mutants.py                                  every core file
    python tools/mutants.py --files safety/keys.py           some of them
    python tools/mutants.py --files safety/keys.py --limit 20    an even sample
    python tools/mutants.py --list                           the mutants, without running them

Every mutant is tried in a forked process that already holds pytest, NumPy and cryptography, against
a copy of ``src`` that comes first on the path, also of processes that a test starts. Prints every
survivor and the score; exit code 1 if there is a survivor, or a declared mutant that is none.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import importlib
import importlib.util
import json
import os
import py_compile
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "loopwright"
DECLARED = ROOT / "tools" / "mutants.toml"
WARM = ("pytest", "numpy", "hypothesis", "cryptography.hazmat.primitives.asymmetric.ed25519")
# Hypothesis is imported before pytest could watch it, which would be a warning and so an error.
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already imported")
Node = TypeVar("Node", bound=ast.AST)

# -- what is changed ------------------------------------------------------------------------------

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node could be mistaken for; the node itself is left alone."""
    yield from operators(node)
    yield from conditions(node)
    yield from values(node)
    yield from statements(node)


def operators(node: ast.AST) -> Iterator[ast.AST]:
    """Yield other comparisons, connectives and arithmetic."""
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield altered(node, ops=[*ops[:place], other(), *ops[place + 1 :]])
        case ast.BoolOp(op=op):
            yield altered(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(op=op) | ast.AugAssign(op=op):
            yield altered(node, op=ARITHMETIC[type(op)]())


def conditions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the opposite of what is asked."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield altered(node, test=negation(test))
        case ast.comprehension(ifs=[first, *rest]):
            yield altered(node, ifs=[negation(first), *rest])


def values(node: ast.AST) -> Iterator[ast.AST]:
    """Yield other constants and other functions of many values."""
    match node:
        case ast.Constant(value=value):
            yield from (ast.Constant(other) for other in constants(value))
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield altered(node, func=ast.Name(CALLS[name], ast.Load()))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield statements that do nothing, or not what was asked."""
    match node:
        case ast.Return(value=ast.expr() as value) if not is_nothing(value):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.YieldFrom() | ast.Yield()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def constants(value: object) -> Iterator[bool | int | float | str | bytes]:
    """Yield values near a constant."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        if value == 1:
            yield 0
    elif isinstance(value, float):
        yield value * 2 if value else 1.0
    elif isinstance(value, str):
        yield f"{value}x"
    elif isinstance(value, bytes):
        yield value + b"x"


def altered(node: Node, **changes: object) -> Node:
    """Return a copy of a node with some fields replaced."""
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return type(node)(**{**fields, **changes})


def negation(test: ast.expr) -> ast.expr:
    """Return the opposite of a condition."""
    return ast.UnaryOp(ast.Not(), test)


def is_nothing(node: ast.expr) -> bool:
    """Tell whether an expression is the constant None, or False, which is asked for as often."""
    return isinstance(node, ast.Constant) and node.value in (None, False)


@dataclass(frozen=True)
class Mutant:
    """One small change of one file."""

    file: str
    """Below ``src/loopwright``."""
    number: int
    """Among the mutants of the file, from 0."""
    line: int
    where: str
    """Qualified name of the function or class it lies in."""
    before: str
    after: str
    repeat: int
    """How many mutants before it look the same."""

    @property
    def name(self) -> str:
        """How it is named in ``mutants.toml``; stays the same when lines move."""
        again = f" ({self.repeat + 1})" if self.repeat else ""
        return f"{self.file} {self.where}: {self.before} -> {self.after}{again}"


@dataclass
class Mutation(ast.NodeTransformer):
    """Walks a module, noting every mutant, and makes the one that is wanted."""

    file: str
    wanted: int = -1
    found: list[Mutant] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _line: int = 1

    def visit(self, node: ast.AST) -> ast.AST:
        """Return the node, or what is wanted in its place."""
        self._line = getattr(node, "lineno", self._line)
        for other in variants(node):
            self._note(node, other)
            if self.found[-1].number == self.wanted:
                return other
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        self._names += [node.name] if named else []
        for name, value in ast.iter_fields(node):
            if not is_left_alone(node, name):
                self._descend(node, name, value)
        if named:
            self._names.pop()
        return node

    def _descend(self, node: ast.AST, name: str, value: object) -> None:
        if isinstance(value, ast.AST):
            setattr(node, name, self.visit(value))
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, ast.AST) and not is_docstring(item):
                    value[place] = self.visit(item)

    def _note(self, node: ast.AST, other: ast.AST) -> None:
        where = ".".join(self._names) or "module"
        key = (where, text_of(node), text_of(other))
        self.found.append(
            Mutant(self.file, len(self.found), self._line, *key, repeat=self._seen[key])
        )
        self._seen[key] += 1


def is_left_alone(node: ast.AST, part: str) -> bool:
    """Tell whether a part of a node is not code that runs, or only words for people."""
    if part in ("annotation", "returns", "decorator_list", "type_params"):
        return True
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Assert) and part == "msg"):
        return True
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return node.value.id in ("Literal", "ClassVar", "TypeVar")
    return isinstance(node, ast.FormattedValue) and part == "format_spec"


def is_docstring(node: ast.AST) -> bool:
    """Tell whether a statement is text that nothing reads, as docstrings are."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def text_of(node: ast.AST) -> str:
    """Return the first line of a node as source, short enough for a table."""
    if isinstance(node, ast.comprehension):
        return " ".join(f"if {ast.unparse(test)}" for test in node.ifs)
    lines = ast.unparse(ast.fix_missing_locations(node)).splitlines() or ["pass"]
    return lines[0] if len(lines[0]) <= 90 else f"{lines[0][:87]}..."


def mutants_of(file: str, source: Path = SOURCE) -> list[Mutant]:
    """Return every mutant of a file."""
    walk = Mutation(file)
    walk.visit(ast.parse((source / file).read_text()))
    return walk.found


def source_of(mutant: Mutant, original: bytes) -> str:
    """Return the source of a mutant."""
    tree = ast.parse(original)
    changed = Mutation(mutant.file, mutant.number).visit(tree)
    return ast.unparse(ast.fix_missing_locations(changed))


# -- how it is tried ------------------------------------------------------------------------------


class Bench:
    """A copy of the source in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        """Copy and compile the source below ``folder``."""
        self.folder, self.source = folder, folder / "src" / "loopwright"
        shutil.copytree(SOURCE, self.source, ignore=shutil.ignore_patterns("__pycache__"))
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(self.source, quiet=2, invalidation_mode=mode)
        sys.path.insert(0, str(self.source.parent))
        sys.dont_write_bytecode = True
        os.environ |= {
            "PYTHONPATH": str(self.source.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            # Plug-ins of other packages would take longer to import than most tests to run.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        }
        for module in WARM:
            importlib.import_module(module)
        # Laws are tried on fewer examples: a mutant that only luck finds is to be called survivor.
        settings = importlib.import_module("hypothesis").settings
        settings.register_profile("mutants", max_examples=25, derandomize=True, database=None)
        settings.load_profile("mutants")

    def passes(self, tests: Sequence[str], cpu_s: float) -> bool:
        """Run tests in a forked process; a run that takes too long does not pass."""
        child = os.fork()
        if not child:
            self._run(tests, cpu_s)
        # A mutant may sleep for ever, which costs no CPU time: hence a limit by the clock too.
        deadline_s = time.monotonic() + 20 * cpu_s
        status: int | None = None
        while status is None and time.monotonic() < deadline_s:
            done, code = os.waitpid(child, os.WNOHANG)
            status = code if done else None
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        return status == 0

    def _run(self, tests: Sequence[str], cpu_s: float) -> None:
        """Be the child: run the tests and never return."""
        code = 3
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 2))
            quiet = os.open(self.folder / "last.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.chdir(ROOT)
            pytest = importlib.import_module("pytest")
            code = int(pytest.main([*OPTIONS, f"--basetemp={self.folder / 'tmp'}", *tests]))
            sys.stdout.flush()
        except BaseException:  # noqa: BLE001  the parent reads what went wrong, whatever it was
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def survives(self, mutant: Mutant, tests: Sequence[str], cpu_s: float) -> bool:
        """Tell whether the tests pass although the file is changed."""
        path = self.source / mutant.file
        original = path.read_bytes()
        compiled = Path(importlib.util.cache_from_source(str(path)))
        kept = compiled.read_bytes()
        try:
            compiled.unlink()
            path.write_text(source_of(mutant, original))
            return self.passes(tests, cpu_s)
        finally:
            path.write_bytes(original)
            compiled.write_bytes(kept)


@dataclass(kw_only=True)
class Score:
    """What became of the mutants of one file."""

    file: str
    mutants: int
    tried: int
    killed: int
    equivalent: int
    survived: list[str]


def score(bench: Bench, file: str, tests: Sequence[str], equal: set[str], limit: int) -> Score:
    """Try the mutants of one file, or an even sample of them."""
    began_s = cpu_of_children_s()
    if not bench.passes(tests, cpu_s=300):
        report = (bench.folder / "last.txt").read_text()
        raise SystemExit(f"{file}: its tests fail without any change:\n{report[-3000:]}")
    limit_s = 5 * (cpu_of_children_s() - began_s) + 5
    known = mutants_of(file, bench.source)
    trying = [mutant for mutant in known if mutant.name not in equal]
    if limit and len(trying) > limit:
        trying = [trying[len(trying) * place // limit] for place in range(limit)]
    survived: list[str] = []
    for place, mutant in enumerate(trying, start=1):
        if bench.survives(mutant, tests, limit_s):
            survived.append(mutant.name)
            print(f"  SURVIVED line {mutant.line}: {mutant.name}", flush=True)
        if sys.stderr.isatty() or place % 50 == 0:
            print(
                f"  {file}: {place} of {len(trying)}", end="\r\n"[place % 50 == 0], file=sys.stderr
            )
    return Score(
        file=file,
        mutants=len(known),
        tried=len(trying),
        killed=len(trying) - len(survived),
        equivalent=sum(mutant.name in equal for mutant in known),
        survived=survived,
    )


def cpu_of_children_s() -> float:
    """Return the CPU-seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants of the files named, or of all core files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", nargs="+", metavar="FILE", help="below src/loopwright")
    parser.add_argument("--limit", type=int, default=0, help="try so many of a file, evenly spread")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    parser.add_argument("--json", type=Path, help="write the scores to this file too")
    chosen = parser.parse_args(arguments)
    declared = tomllib.loads(DECLARED.read_text())
    targets: dict[str, list[str]] = declared["core"]
    files: list[str] = chosen.files or list(targets)
    if unknown := sorted(set(files) - set(targets)):
        parser.error(f"{unknown} are no core files; {DECLARED.name} lists {sorted(targets)}")
    if chosen.list:
        print("\n".join(mutant.name for file in files for mutant in mutants_of(file)))
        return 0
    equal = {entry["mutant"] for entry in declared.get("equivalent", [])}
    names = {mutant.name for file in targets for mutant in mutants_of(file)}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(Path(folder))
        scores = [score(bench, file, targets[file], equal, chosen.limit) for file in files]
    return report(scores, sorted(equal - names), chosen.json)


def report(scores: Sequence[Score], stale: Sequence[str], path: Path | None) -> int:
    """Print the table of scores; return the exit code."""
    width = max(len(one.file) for one in scores)
    print(f"{'file':<{width}}  mutants  tried  killed  equivalent  survived")
    for one in scores:
        print(
            f"{one.file:<{width}}  {one.mutants:>7}  {one.tried:>5}  {one.killed:>6}  "
            f"{one.equivalent:>10}  {len(one.survived):>8}"
        )
    tried, killed = sum(one.tried for one in scores), sum(one.killed for one in scores)
    print(f"{killed} of {tried} killed ({killed / max(tried, 1):.1%}).")
    for name in stale:
        print(f"declared equivalent, but there is no such mutant: {name}")
    if path:
        path.write_text(json.dumps([asdict(one) for one in scores], indent=1) + "\n")
    return 1 if stale or killed < tried else 0


if __name__ == "__main__":
    sys.exit(main())
