"""The cluster recipes: planned, and refused where they cannot begin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loopwright.cli import main
from loopwright.core.errors import Infeasible, UnknownName
from loopwright.recipes.launch import Launch
from loopwright.recipes.planning import check_memory, plan_training
from loopwright.recipes.registry import get_training, training_names
from loopwright.recipes.training import run_training
from loopwright.train.plan.machine import Machine

CLUSTER = ("wudao.cluster-1b", "wudao.cluster-1t")


def test_a_training_beyond_this_machine_is_refused_before_anything_is_made(tmp_path: Path):
    with pytest.raises(Infeasible, match=r"26,.*GiB.*this machine has|26,.*device has") as caught:
        run_training(get_training("wudao.cluster-1t"), tmp_path / "out", lambda *_: None)
    assert "nothing was allocated" in str(caught.value)
    assert "loopwright plan wudao.cluster-1t" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_several_processes_are_refused_for_the_whole_model_that_each_makes_first():
    with pytest.raises(Infeasible, match="whole weights at the start"):
        check_memory(get_training("wudao.cluster-1t"), Launch(processes=1024))


def test_trainings_that_fit_are_let_through():
    for name in set(training_names()) - set(CLUSTER):
        check_memory(get_training(name), Launch())


def test_the_verb_says_what_is_planned_and_that_nothing_was_trained(capsys):
    assert main(["plan", "wudao.gpu", "--devices", "2"]) == 0
    said = capsys.readouterr().out
    assert "wudao.gpu: planned, not trained" in said
    assert "279,625,728 parameters, 97,959,936 of them active" in said
    assert "A step fits" in said


def test_the_same_as_json_with_what_would_make_it_fit(capsys):
    small = ["--device-memory-gib", "16", "--json"]
    assert main(["plan", "wudao.tiny", "--devices", "1", "--json"]) == 0
    fits = json.loads(capsys.readouterr().out)
    assert fits["planned"] is True
    assert fits["trained"] is False
    assert fits["fits"] is True
    assert main(["plan", "wudao.gpu", "--devices", "1", *small]) == 0
    tight = json.loads(capsys.readouterr().out)
    assert tight["missing_bytes"] > 0
    assert any("accumulate" in remedy for remedy in tight["would_fit_with"])


def test_a_learner_that_has_no_planner_is_refused_by_name():
    training = get_training("wudao.tiny")
    other = replace(training.learner, entry="loopwright.train.learners:wam")
    with pytest.raises(UnknownName, match="wam"):
        plan_training(replace(training, learner=other), 1, Machine())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices", "parameters", "active"),
    [
        (CLUSTER[0], 8, 1_778_482_176, 638_942_208),
        (CLUSTER[1], 1024, 1_756_814_785_792, 71_711_210_752),
    ],
)
def test_a_step_of_the_documented_configurations_fits(name, devices, parameters, active):
    plan, remedies = plan_training(get_training(name), devices, Machine())
    assert plan.shares.parameters == parameters
    assert plan.shares.active == active
    assert plan.fits
    assert remedies == []
