"""Scaling studies through the command line, from the grid to the density of a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loopwright.cli import EXIT_FAILED, EXIT_USAGE, main
from loopwright.core.errors import InvalidConfig
from loopwright.recipes import scaling
from loopwright.recipes.scaling import REHEARSED, get_study, rehearsal, run_study


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "study"
    typed(capsys, "scale", "rehearsal", "--out", str(folder))
    return folder


def test_a_known_law_is_found_within_its_interval(tmp_path, capsys):
    folder = tmp_path / "study"
    found = typed(
        capsys, "scale", "rehearsal", "--out", str(folder), "--budget-flops", "1e19", "1e20"
    )
    for known in found["estimates"]:
        truth = getattr(REHEARSED, known["name"], None)
        if truth is not None:
            assert known["estimate"]["low"] < truth < known["estimate"]["high"]
    (held,) = found["held_back"]
    assert held["label"] == "100M"
    assert held["extrapolation"] > 3
    assert held["is_inside"]
    assert [plan["budget_flops"] for plan in found["plans"]] == [1e19, 1e20]
    assert (folder / "loss-by-compute.svg").read_text().startswith("<svg")


def test_the_terminal_shows_prediction_beside_truth(tmp_path, capsys):
    assert main(["scale", "rehearsal", "--out", str(tmp_path / "s")]) == 0
    said = capsys.readouterr().out
    assert "held back" in said
    assert "No model was trained" in said


def test_a_killed_study_makes_only_the_runs_that_are_missing(tmp_path, monkeypatch):
    made: list[str] = []

    def rehearse(config, job):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(f"{job.lineage['size']} {config['tokens']}")
        return whole(config, job)

    whole = scaling.rehearse
    monkeypatch.setattr(scaling, "rehearse", rehearse)
    with pytest.raises(KeyboardInterrupt):
        run_study(rehearsal(), tmp_path, lambda fraction, message: None)
    monkeypatch.setattr(
        scaling, "rehearse", lambda config, job: made.append("again") or whole(config, job)
    )
    first = run_study(rehearsal(), tmp_path, lambda fraction, message: None)
    assert made.count("again") == 13 - 5
    again = run_study(rehearsal(), tmp_path, lambda fraction, message: None)
    assert made.count("again") == 13 - 5
    assert again.report == first.report


def test_more_tokens_and_other_words_keep_the_runs_that_are_made(tmp_path, monkeypatch):
    run_study(rehearsal(), tmp_path, lambda fraction, message: None)
    made, whole = [], scaling.rehearse
    monkeypatch.setattr(
        scaling, "rehearse", lambda config, job: made.append(config) or whole(config, job)
    )
    more = replace(rehearsal(), tokens=(*rehearsal().tokens, 2_000_000_000), caveats=("Other.",))
    run_study(more, tmp_path, lambda fraction, message: None)
    assert {config["tokens"] for config in made} == {2_000_000_000}
    made.clear()
    other = replace(rehearsal(), learner=replace(rehearsal().learner, config={"luck": 0.001}))
    run_study(other, tmp_path, lambda fraction, message: None)
    assert len(made) == 13


def test_a_run_that_diverges_is_left_out_and_named(tmp_path, monkeypatch):
    whole = scaling.rehearse

    def rehearse(config, job):
        if job.lineage["size"] == "1M" and config["tokens"] == 20_000_000:
            return {"loss": None}
        return whole(config, job)

    monkeypatch.setattr(scaling, "rehearse", rehearse)
    found = run_study(rehearsal(), tmp_path, lambda fraction, message: None)
    assert len(found.fit.runs) == 11
    assert "1M on 20,000,000 tokens ran away." in found.report["notes"]


def test_a_size_that_is_not_what_the_recipe_says_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "rehearse", lambda config, job: {"loss": 3.0, "params": 7})
    with pytest.raises(InvalidConfig, match="1,000,000 parameters, its model has 7"):
        run_study(rehearsal(), tmp_path, lambda fraction, message: None)


class TestDensity:
    def test_a_model_worth_twice_its_size(self, study, tmp_path, capsys):
        model = tmp_path / "model.json"
        loss = REHEARSED.loss(1e7, 5e8)
        model.write_text(json.dumps({"loss": loss, "params": 5e6, "tokens": 5e8}))
        found = typed(capsys, "density", str(model), "--study", str(study))
        assert found["density"]["low"] < 2 < found["density"]["high"]
        assert found["density"]["value"] == pytest.approx(2, rel=0.25)
        assert found["reference_tokens"] == 5e8

    @pytest.mark.parametrize("text", [None, "{", "[]", '{"loss": 3.0}'])
    def test_what_a_rehearsal_cannot_measure_is_named(self, study, tmp_path, capsys, text):
        model = tmp_path / "model"
        if text is None:
            model.mkdir()
        else:
            model.write_text(text)
        assert main(["density", str(model), "--study", str(study)]) == EXIT_USAGE
        said = capsys.readouterr().err
        assert str(model) in said
        assert "JSON file with the numbers 'loss' and 'params'" in said

    def test_numbers_by_hand_need_no_model(self, study, capsys):
        words = ["density", "mine", "--study", str(study), "--loss", "4.6", "--params", "2e6"]
        assert main(words) == 0
        said = capsys.readouterr().out
        assert "mine: density" in said
        # Nobody knows its tokens: the most of the grid.
        assert "at 1B tokens" in said
        assert main(words[:-2]) == EXIT_USAGE
        assert "go together" in capsys.readouterr().err

    def test_a_loss_that_no_member_reaches_is_refused(self, study, capsys):
        words = ["density", "mine", "--study", str(study), "--loss", "1.2", "--params", "2e6"]
        assert main(words) == EXIT_USAGE
        assert "no reference model" in capsys.readouterr().err

    def test_a_folder_without_a_study_says_how_to_make_one(self, tmp_path, capsys):
        assert main(["density", "mine", "--study", str(tmp_path)]) == EXIT_USAGE
        assert "loopwright scale" in capsys.readouterr().err

    def test_a_torn_study_is_named(self, study, capsys):
        (study / "study.json").write_bytes((study / "study.json").read_bytes()[:-100])
        words = ["density", "mine", "--study", str(study), "--loss", "4.6", "--params", "2e6"]
        assert main(words) == EXIT_FAILED
        assert "study.json" in capsys.readouterr().err


def test_a_recipe_of_something_else_is_refused(tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "from loopwright.recipes.scaling import rehearsal as study\n"
        "from loopwright.recipes.wudao import tiny as training\n"
    )
    assert get_study(f"{recipe}:study") == rehearsal()
    with pytest.raises(InvalidConfig, match="loopwright train"):
        get_study(f"{recipe}:training")


def test_the_sizes_of_the_text_picture_study_are_those_of_its_models():
    from loopwright.train.wudao_family import params_of

    study = get_study("wudao.scale")
    held, _ = study.held_back or pytest.fail("nothing is held back")
    for size in (*study.sizes, held):
        assert params_of(size.config) == size.params
    assert len(study.grid.every) == 10
