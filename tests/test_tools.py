"""The tools that guard the repository catch what they are for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestCheckText:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        return tmp_path

    @pytest.mark.parametrize(
        "text",
        [
            "index-url = https://" + "pypi" + ".org/simple",
            "deb http://deb." + "debian" + ".org/debian bookworm main",
            "registry=https://registry." + "npmjs" + ".org/",
            "data lies in /" + "home/ada/data",
            "cd /" + "work/checkout",
        ],
    )
    def test_what_ties_to_one_machine_is_named_with_its_line(
        self, repository: Path, text: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (repository / "notes.md").write_text(f"fine\n{text}\n")
        subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
        assert tool("check_text").main(repository) == 1
        assert "notes.md:2:" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "text",
        [
            "Certified to ISO 10218-1.",
            "This robot is ISO 13482 certified",
            "It is ISO/TS 15066 compliant.",
            "the filter meets SIL 3",
            "a PL d rated brake",
            "complies with the requirements of IEC 61508",
            "developed in conformity with DO-178C",
            "EU AI Act compliance out of the box",
            "fulfils international standards",
            "def is_iso_10218_certified(): ...",
            "Nothing else moves. Conforms to ISO 10218.",
            "certified\nto ISO 10218",
        ],
    )
    def test_claims_of_conformity_are_named(
        self, repository: Path, text: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (repository / "page.md").write_text(f"# A page\n\n{text}\n")
        subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
        assert tool("check_text").main(repository) == 1
        assert "page.md:3: claims" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "text",
        [
            'sources = ["ISO 10218-1:2025, as reported by a vendor"]',
            "The number comes from ISO/TS 15066, Annex A.",
            "It is not certified to ISO 10218.",
            "No page claims conformity with ISO 10218 or an integrity level.",
            "A certificate names the level C of its claims.",
            "Timestamps are ISO 8601.",
            "The certified candidate is loaded. See ISO 10218 for limits of speed.",
        ],
    )
    def test_sources_and_denials_are_no_claims(self, repository: Path, text: str) -> None:
        (repository / "page.md").write_text(f"# A page\n\n{text}\n")
        subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
        assert tool("check_text").main(repository) == 0

    def test_nothing_here_claims_conformity(self) -> None:
        check = tool("check_text")
        said = [
            f"{path.relative_to(ROOT)}:{text}"
            for path in check.tracked_files(ROOT)
            if path.suffix in (".md", ".py", ".toml") and "tests" not in path.parts
            for text in check.claims(path.read_text())
        ]
        assert said == []

    def test_tests_may_quote_what_is_banned(self, repository: Path) -> None:
        (repository / "tests").mkdir()
        (repository / "tests" / "test_words.py").write_text("certified to ISO 10218")
        subprocess.run(["git", "-C", repository, "add", "-A"], check=True)
        assert tool("check_text").main(repository) == 0

    def test_only_tracked_and_small_files_pass(
        self, repository: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (repository / "fine.md").write_text("see docs/work/plan.md, ~/data and https://example.org")
        (repository / "film.bin").write_bytes(b"\0" * 5_000_001)
        subprocess.run(["git", "-C", repository, "add", "fine.md"], check=True)
        assert tool("check_text").main(repository) == 0
        subprocess.run(["git", "-C", repository, "add", "film.bin"], check=True)
        assert tool("check_text").main(repository) == 1
        assert "film.bin:1: 5.0 MB" in capsys.readouterr().out


class TestFillReadme:
    README = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"

    def result(self, folder: Path, *, quick: bool) -> None:
        measurement = {
            "metric": "false promotions",
            "value": 0.0123,
            "unit": "share of loops",
            "interval": [0.01, 0.02],
            "n": 2000,
            "compared_with": "",
            "target": "<= 0.05",
            "holds": True,
        }
        others = [
            {**measurement, "metric": "aside", "target": "", "holds": None},
            {**measurement, "metric": "second"},
            {**measurement, "metric": "third, which holds"},
            {**measurement, "metric": "lost", "value": 0.5, "holds": False},
        ]
        (folder / "gate.json").write_text(
            json.dumps({"name": "gate", "quick": quick, "measurements": [measurement, *others]})
        )

    def test_the_readme_shows_the_first_target_and_how_many_hold(self, tmp_path: Path) -> None:
        self.result(tmp_path, quick=False)
        (tmp_path / "gate_other.json").write_text((tmp_path / "gate.json").read_text())
        text = tool("fill_readme").filled(self.README, tmp_path)
        assert text.startswith("before\n<!-- results -->\n| benchmark")
        assert text.endswith("<!-- /results -->\nafter\n")
        assert (
            "| `gate`, 3 of 4 targets hold | false promotions | "
            "0.0123 share of loops (0.01 to 0.02) | 2,000 | <= 0.05 | yes |" in text
        )
        assert text.count("false promotions") == 1, "a variant is no benchmark of its own"
        assert "second" not in text

    def test_the_page_shows_all_missed_targets(self, tmp_path: Path) -> None:
        self.result(tmp_path, quick=False)
        text = tool("fill_readme").page(tmp_path)
        assert "3 of 4 targets hold | false promotions" in text
        assert "|  | second |" in text
        assert "|  | lost | 0.5 share of loops (0.01 to 0.02) | 2,000 | <= 0.05 | **no** |" in text
        assert "aside" not in text
        assert "third" not in text

    def test_quick_runs_are_no_results(self, tmp_path: Path) -> None:
        self.result(tmp_path, quick=True)
        text = tool("fill_readme").filled(self.README, tmp_path)
        assert "No results yet" in text
        assert tool("fill_readme").filled(text, tmp_path) == text

    def test_the_readme_has_its_block(self) -> None:
        tool("fill_readme").filled((ROOT / "README.md").read_text(), ROOT / "no-such-folder")
