"""``loopwright score`` on models of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from loopwright.cli import EXIT_USAGE, main
from loopwright.core.digest import digest_file
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.recipes import emoji_tasks, evaluation, tasks
from loopwright.scenarios.emoji.splits import load_splits
from loopwright.store.workspace import Workspace
from tiny_language import CORPUS, make_folder
from tiny_text_picture import make_text_picture_folder

TEXT = "\n".join(CORPUS[:4])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["score", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_score_comes_with_its_interval_and_what_was_not_looked_at(model, text, capsys):
    assert main(["score", str(model), "--task", "perplexity", "--data", str(text)]) == 0
    said = capsys.readouterr().out
    assert "perplexity" in said
    assert "what it does not name (--learned-from)" in said
    assert "?" in said  # nobody knows whether it was learned


def test_a_score_on_what_was_learned_is_withheld(model, text, capsys):
    words = (model, "--task", "perplexity", "--data", text, "--learned-from", text)
    (found,) = typed(capsys, *words)["lists"]
    assert found["scores"] is None
    assert found["contamination"]["learned"] == ["000000"]
    assert main(["score", *map(str, words)]) == 0
    assert "withheld" in capsys.readouterr().out
    (shown,) = typed(capsys, *words, "--contaminated")["lists"]
    assert shown["scores"]["perplexity"]["value"] > 1


def test_a_fine_tuned_model_says_what_it_learned_and_what_it_cannot_say(text, tmp_path, capsys):
    folder = make_folder(tmp_path / "tuned")
    Candidate.seal(
        folder,
        family="language",
        interface=NO_BODY,
        config={"kind": "whole"},
        lineage={"base": "ba5e" * 16, "data": digest_file(text)},
    )
    words = (folder, "--task", "perplexity", "--data", text)
    (found,) = typed(capsys, *words)["lists"]
    assert set(found["contamination"]["missing"]) == {"ba5e" * 16, digest_file(text)}
    (found,) = typed(capsys, *words, "--learned-from", text)["lists"]
    assert found["contamination"]["missing"] == ["ba5e" * 16]
    assert found["contamination"]["learned"]


class TestLedger:
    def test_a_list_is_scored_once_and_found_again(
        self, model, text, tmp_path, capsys, monkeypatch
    ):
        asked = []
        evaluate = evaluation.evaluate
        monkeypatch.setattr(
            evaluation, "evaluate", lambda task, *a, **k: asked.append(1) or evaluate(task, *a, **k)
        )
        words = (model, "--task", "perplexity", "--data", text, "--workspace", tmp_path / "ws")
        (first,) = typed(capsys, *words)["lists"]
        (again,) = typed(capsys, *words)["lists"]
        assert first == again
        assert len(asked) == 1
        (plain,) = typed(capsys, *words[:-2])["lists"]
        assert plain["scores"] == first["scores"]

    def test_the_receipt_binds_model_items_and_every_verdict(self, model, text, tmp_path, capsys):
        place = tmp_path / "ws"
        words = (model, "--task", "perplexity", "--data", text, "--workspace", place)
        (found,) = typed(capsys, *words)["lists"]
        with Workspace.open(place) as workspace:
            receipt = workspace.ledger.receipt(found["receipt"])
            spec = workspace.ledger.spec(found["receipt"])
            assert receipt is not None
            verdicts = workspace.objects.read_json(receipt.result.outputs["verdicts"])
            assert workspace.objects.has_folder(spec.inputs["model"])
        assert spec.inputs["task"] == found["task_digest"]
        assert [verdict["verifier"] for verdict in verdicts] == ["perplexity/1"]
        assert receipt.result.facts["scores"] == found["scores"]

    def test_status_and_history_show_what_was_scored(self, model, text, tmp_path, capsys):
        place = tmp_path / "ws"
        words = (model, "--task", "perplexity", "--data", text, "--workspace", place)
        (found,) = typed(capsys, *words)["lists"]
        with Workspace.open(place) as workspace:
            digest = workspace.ledger.spec(found["receipt"]).inputs["model"]
        headline = f"bits_per_byte {found['scores']['bits_per_byte']['value']:.3f} ("
        for verb in ("status", "history"):
            assert main([verb, "--workspace", str(place)]) == 0
            shown = capsys.readouterr().out
            assert digest[:12] in shown
            assert headline in shown
        assert main(["history", "--workspace", str(place), "--json"]) == 0
        (kept,) = json.loads(capsys.readouterr().out)
        assert (kept["kind"], kept["candidate"]) == ("score", digest)
        assert kept["scores"] == found["scores"]

    def test_what_is_withheld_when_scored_is_withheld_later(self, model, text, tmp_path, capsys):
        place = str(tmp_path / "ws")
        words = ("--task", "perplexity", "--data", text, "--learned-from", text)
        typed(capsys, model, *words, "--workspace", place)
        assert main(["status", "--workspace", place]) == 0
        shown = capsys.readouterr().out
        assert "withheld" in shown
        assert "bits_per_byte" not in shown
        assert main(["history", "--workspace", place, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["scores"] is None

    def test_other_items_are_another_stage(self, model, text, tmp_path, capsys):
        words = (model, "--task", "perplexity", "--data", text, "--workspace", tmp_path / "ws")
        (first,) = typed(capsys, *words)["lists"]
        text.write_text(TEXT + " more")
        (second,) = typed(capsys, *words)["lists"]
        assert first["receipt"] != second["receipt"]
        assert first["scores"] != second["scores"]


@dataclass
class FewEmoji:
    """Emoji of the real lists with chance drawings."""

    hexcode: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.hexcode)
        random = np.random.default_rng(0)
        self.pixels = random.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        self.picture = np.arange(count)
        self.style = np.array(["twemoji"] * count, object)

    def labels(self, language: str = "en") -> np.ndarray:
        return np.array([f"emoji {code}" for code in self.hexcode], object)


@pytest.mark.parametrize("task", [name for name in tasks.task_names() if "emoji" in name])
def test_every_emoji_task_is_asked_by_the_frozen_lists(task, tmp_path, capsys, monkeypatch):
    splits = load_splits()
    codes = [sorted(splits.hexcodes[kind]["tune"])[:6] for kind in ("seen", "tone", "flag")]
    few = FewEmoji(np.array([code for some in codes for code in some], object))
    sides = []
    monkeypatch.setattr(emoji_tasks, "load_emoji", lambda px, styles: sides.append(px) or few)
    model = make_text_picture_folder(tmp_path / "model")
    words = (model, "--task", task, "--part", "tune", "--limit", "4")
    found = typed(capsys, *words)
    assert sides == [16]
    assert {of["list"]: of["contamination"]["items"] for of in found["lists"]} == {
        "seen": 4,
        "tone": 4,
        "flag": 4,
    }
    (only,) = typed(capsys, *words, "--lists", "tone")["lists"]
    assert only["task_digest"] == found["lists"][1]["task_digest"]
    assert only["scores"] == found["lists"][1]["scores"]


def test_a_task_of_another_package_is_found(model, text, capsys, monkeypatch):
    class Point:
        name = "mine"

        def load(self):
            return tasks.build_perplexity

    monkeypatch.setattr(
        tasks.metadata, "entry_points", lambda group: [Point()] if group.endswith("tasks") else []
    )
    assert "mine" in tasks.task_names()
    (found,) = typed(capsys, model, "--task", "mine", "--data", text)["lists"]
    assert found["task"] == "perplexity"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--task", "emoji.caption"], "emoji.captions"),
        (["--task", "emoji.captions"], "pictures.px"),
        (["--task", "perplexity"], "--data"),
        (["--task", "perplexity", "--data", "nowhere.txt"], "nowhere.txt"),
        (["--task", "perplexity", "--limit", "0"], "limit"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_do(words, told, model, capsys):
    assert main(["score", str(model), *words]) == EXIT_USAGE
    assert told in capsys.readouterr().err
