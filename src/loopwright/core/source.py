"""Python files that people bring: scenarios, recipes, learners.

A file is imported by its path, and may import modules that lie beside it. Its code is its own text
and that of every such module, as far as import statements tell: editing any of them makes another
digest, and what was computed by the old code is computed anew.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import loopwright
from loopwright.core.digest import Json, digest_bytes, digest_file, digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.core.stage import resolve_entry

_SIBLINGS: dict[str, tuple[str | None, str]] = {}
"""Modules beside files that were imported: where each lies, and the digest of its code then."""
_FOLDERS: list[str] = []
"""Folders of files that were imported; they end the search path, the newest first."""


def split_reference(reference: str, default: str) -> tuple[Path, str]:
    """Return path and attribute of ``"path/to/file.py:attribute"``.

    Args:
        reference: What was written.
        default: The attribute, if none is named.
    """
    text, _, attribute = reference.rpartition(":")
    # A lone colon may belong to a drive letter; an attribute is always an identifier.
    if not text or not attribute.isidentifier():
        text, attribute = reference, default
    return Path(text).expanduser(), attribute


def is_file_reference(reference: str) -> bool:
    """Tell whether a reference names a Python file rather than something installed."""
    return split_reference(reference, "")[0].suffix == ".py"


def import_file(path: Path, what: str) -> ModuleType:
    """Import a Python file, or return the module if its code was imported before.

    The folder of the file is searched last, so modules beside it are found and hide no others.

    Args:
        path: The file.
        what: What it is, for messages (``"recipe"``).

    Raises:
        InvalidConfig: There is no such file, importing it raised, or a module beside it has the
            name of another that is imported already.
    """
    path = existing(path, what)
    # The name carries the digest, so edited code is a new module and nothing stale is found.
    name = f"loopwright_file_{digest_bytes(f'{path} {source_digest(path)}'.encode())[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    _make_room(path, what)
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look themselves up there while they are made
    try:
        # Compiled here, because Python's cache does not notice two edits within a second.
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise InvalidConfig(
            f"{what} file {path} cannot be imported: {described(error, path)}"
        ) from error
    return module


def described(error: Exception, path: Path) -> str:
    """Return an error on one line, with the last line of a file that it passed through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"


def find_entry(entry: str, what: str) -> Callable[..., Any]:
    """Return the function behind ``"package.module:function"`` or ``"path/file.py:function"``.

    Args:
        entry: What was written.
        what: What it is, for messages (``"learner"``).

    Raises:
        InvalidConfig: There is no such thing, or importing it raised.
    """
    if not is_file_reference(entry):
        try:
            return resolve_entry(entry)
        except InvalidConfig as error:
            raise InvalidConfig(
                f"{what}: {error}; what lies in a file is named 'path/to/file.py:function'"
            ) from error
    path, function = split_reference(entry, "")
    found = getattr(import_file(path, what), function, None) if function else None
    if not callable(found):
        raise InvalidConfig(
            f"{what} {entry!r} names no function of {path}; expected 'path/to/file.py:function'"
        )
    return found


def entry_digest(entry: str) -> str | None:
    """Return the digest of the code behind an entry as :func:`find_entry` takes it.

    None for Loopwright's own, which every stage covers, and for a module that is not found.

    Raises:
        InvalidConfig: There is no such file.
    """
    if is_file_reference(entry):
        return source_digest(existing(split_reference(entry, "")[0], "learner"))
    top = entry.partition(":")[0].partition(".")[0]
    if top == loopwright.__name__:
        return None
    # The process of a stage also looks in the working folder.
    spec = PathFinder.find_spec(top, [str(Path.cwd()), *sys.path])
    return None if spec is None else _digest_of({top: spec})


def source_digest(path: Path) -> str:
    """Return the digest of a Python file and of the modules beside it that it imports.

    Static: nothing is run. What a file reads or imports by other means is not seen.
    """
    return _digest_of(_siblings(path), path)


def _digest_of(modules: dict[str, ModuleSpec], *files: Path) -> str:
    texts: dict[str, Json] = {file.name: digest_file(file) for file in files}
    for name, spec in modules.items():
        texts |= {
            f"{name}:{file.name if root is None else file.relative_to(root).as_posix()}": (
                digest_file(file)
            )
            for root, file in _files_of(spec)
        }
    return digest_json(texts)


def _files_of(spec: ModuleSpec) -> Iterator[tuple[Path | None, Path]]:
    """Yield the files of a module, each with the folder of the package that it is part of."""
    for place in spec.submodule_search_locations or ():
        for file in sorted(Path(place).rglob("*.py")):
            yield Path(place), file
    if not spec.submodule_search_locations and spec.origin and Path(spec.origin).is_file():
        yield None, Path(spec.origin)


def _siblings(path: Path) -> dict[str, ModuleSpec]:
    """Return the modules in a file's folder that it imports, directly or by one of them."""
    folder = path.parent
    search = [*(place for place in sys.path if place not in _FOLDERS), str(folder)]
    found: dict[str, ModuleSpec] = {}
    unread = [path]
    while unread:
        for name in _imported(unread.pop()):
            if name in found or name in sys.stdlib_module_names:
                continue
            spec = PathFinder.find_spec(name, search)
            files = [file for _, file in _files_of(spec)] if spec is not None else []
            if spec is not None and files and files[0].is_relative_to(folder):
                found[name] = spec
                unread += files
    return dict(sorted(found.items()))


def _imported(path: Path) -> Iterator[str]:
    """Yield the top-level names of what a file imports; of none, if it is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _make_room(path: Path, what: str) -> None:
    """Let a file find the modules beside it; forget them if they were edited.

    Raises:
        InvalidConfig: Another module of such a name, with other code, is in use.
    """
    siblings = _siblings(path)
    now = {name: (spec.origin, _digest_of({name: spec})) for name, spec in siblings.items()}
    for name, (origin, digest) in now.items():
        loaded = getattr(sys.modules.get(name), "__spec__", None)
        place, code = _SIBLINGS.get(name, (loaded.origin if loaded else origin, None))
        if origin != place and digest != code:
            raise InvalidConfig(
                f"{what} file {path} imports {name!r} from beside it, but another module of that "
                f"name is in use ({place}); rename one"
            )
    if any(_SIBLINGS.get(name, (None, digest))[1] != digest for name, (_, digest) in now.items()):
        _forget(siblings)
    for name, found in now.items():
        if _SIBLINGS.get(name, ("", ""))[1] != found[1]:
            _SIBLINGS[name] = found
    _search(str(path.parent))


def _forget(modules: dict[str, ModuleSpec]) -> None:
    """Have modules imported anew, from their source."""
    for name in list(sys.modules):
        if name.partition(".")[0] in modules:
            del sys.modules[name]
    for spec in modules.values():
        for _, file in _files_of(spec):
            # Python's cache takes a second edit within a second for the first.
            with suppress(OSError):
                Path(importlib.util.cache_from_source(str(file))).unlink()


def _search(folder: str) -> None:
    """Put a folder behind the search path, before the folders of files imported earlier."""
    if folder in sys.path and folder not in _FOLDERS:
        return  # somebody else put it where it is
    sys.path[:] = [place for place in sys.path if place not in _FOLDERS]
    _FOLDERS[:] = [folder, *(place for place in _FOLDERS if place != folder)]
    sys.path += [place for place in _FOLDERS if place not in sys.path]


def existing(path: Path, what: str) -> Path:
    """Return the absolute path of a file.

    Raises:
        InvalidConfig: There is none.
    """
    if not path.is_file():
        raise InvalidConfig(f"{what} file {str(path)!r} does not exist (looked in {Path.cwd()})")
    return path.resolve()
