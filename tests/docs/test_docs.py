"""Every code block of the documentation runs, or names things that exist.

The word after the language of a block says how it is tested:

- nothing: executed in the default tests;
- ``slow``: executed with the slow tests, together with the rest of its page;
- ``by-hand``: not executed (it installs, or takes minutes); its commands must exist.

``text`` and ``json`` blocks are pictures and output. The blocks of a page run in order in one empty
folder; Python blocks share their names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loopwright.cli import VERBS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURES = {"text", "json", "toml"}
ON_PATH = {"sudo", "git", "cd", "pip", "torchrun", "export"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    how: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        language, _, how = match[1].partition(" ")
        line = text[: match.start()].count("\n") + 1
        yield Block(page=page, line=line, language=language, how=how, code=match[2])


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def run_blocks(blocks: list[Block], folder: Path) -> None:
    """Execute Python and shell blocks in order."""
    namespace = {"__name__": "__main__"}
    for block in blocks:
        if block.language == "python":
            padding = "\n" * block.line
            exec(compile(padding + block.code, block.place, "exec"), namespace)
        elif block.language == "bash":
            run_shell(block, folder)


def run_shell(block: Block, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"


def test_every_block_says_how_it_is_tested() -> None:
    unknown = [
        f"{block.place}: {block.language!r} {block.how!r}"
        for blocks in BLOCKS.values()
        for block in blocks
        if block.language not in PICTURES
        and (block.language not in ("python", "bash") or block.how not in ("", "slow", "by-hand"))
    ]
    assert unknown == []


QUICK = [
    page
    for page in PAGES
    if any(b.language in ("python", "bash") and not b.how for b in BLOCKS[page])
]
SLOW = [page for page in PAGES if any(b.how == "slow" for b in BLOCKS[page])]


@pytest.mark.parametrize("page", QUICK, ids=names(QUICK))
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks([block for block in BLOCKS[page] if not block.how], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=names(SLOW))
def test_the_whole_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks([block for block in BLOCKS[page] if block.how != "by-hand"], tmp_path)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_commands_to_type_by_hand_exist() -> None:
    wrong = []
    for block in (b for blocks in BLOCKS.values() for b in blocks if b.how == "by-hand"):
        for line in block.code.splitlines():
            program, *arguments = re.sub(r"#.*", "", line).split() or ["#"]
            program = Path(program).name
            if program == "make":
                wrong += [f"{block.place}: make {arguments[0]}"] * (
                    arguments[0] not in make_targets()
                )
            elif program == "loopwright":
                verbs = {arguments[0], " ".join(arguments[:2])}
                wrong += [f"{block.place}: {arguments[0]}"] * verbs.isdisjoint(VERBS)
            elif program not in ON_PATH | {"#"}:
                wrong.append(f"{block.place}: {program}")
    assert wrong == []


def anchors_and_files(page: Path) -> Iterator[tuple[str, Path]]:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            yield target, (page.parent / target).resolve()


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    dead = [target for target, path in anchors_and_files(page) if not path.exists()]
    assert dead == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_reference(verb: str) -> None:
    assert f"## {verb}\n" in (ROOT / "docs/reference/command-line.md").read_text()


def test_the_reference_is_what_the_code_says() -> None:
    """Written by ``make reference``; in a process of its own, which only has to import."""
    done = subprocess.run(
        [sys.executable, "tools/make_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run 'make reference': {done.stdout}{done.stderr}"


def test_pages_stay_short() -> None:
    lengths = {"README.md": 150, "CONTRIBUTING.md": 100}
    long = {
        name for name, most in lengths.items() if len((ROOT / name).read_text().splitlines()) > most
    }
    assert long == set()


def test_the_tree_of_the_readme_is_the_tree() -> None:
    drawn = set(re.findall(r"^  (\w+)/", (ROOT / "README.md").read_text(), re.MULTILINE))
    real = {p.parent.name for p in (ROOT / "src/loopwright").glob("*/__init__.py")}
    assert drawn == real
