"""Naming as a scenario: what is shown, what is recorded, and how a text is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import painted_emoji
from loopwright.core.caption import PICTURE, action_of, text_of
from loopwright.core.control import Recorder, attempt_header, run_episode
from loopwright.core.episode import Episode, Verdict
from loopwright.core.errors import WorldError
from loopwright.core.scenario import Request, split_seed
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.emoji.captioning import TASKS, EmojiCaption
from loopwright.scenarios.emoji.items import EmojiTask
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import judge, record_sources

WHOLE = EmojiTask(id="emoji-caption-v1", px=16)
FEW = EmojiTask(id="emoji-caption-tiny-v1", px=16, groups=("animals-nature",))
SEED = split_seed("gate", 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return painted_emoji.write_cache(tmp_path_factory.mktemp("cache"), patch, 16)


@pytest.fixture
def few(cache: Path) -> EmojiCaption:
    return EmojiCaption(FEW, cache)


def written(scenario: EmojiCaption, action: np.ndarray) -> Episode:
    """Return the episode of a policy that writes one thing whatever is shown."""

    class Writer:
        def reset(self, seed: int) -> None: ...

        def act(self, observation):
            return action

    recorder = Recorder()
    run_episode(
        world=scenario.make_world(),
        policy=Writer(),
        header=attempt_header(scenario, SEED, candidate=None),
        max_steps=scenario.max_steps,
        subscribers=(recorder,),
    )
    return recorder.episode()


def verdict(scenario: EmojiCaption, text: str) -> Verdict:
    return judge(scenario, written(scenario, action_of(text)))


@pytest.mark.parametrize("task", [WHOLE, FEW])
def test_naming_keeps_the_contract(task: EmojiTask, cache: Path):
    report = check_scenario(EmojiCaption(task, cache))
    assert report.ok, str(report)
    assert report.kinds == ("demo", "play", "video")


@pytest.mark.parametrize("task", TASKS)
def test_naming_a_scenario_loads_nothing(task: EmojiTask, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "")  # no npm to fetch with
    assert get_scenario(task.id).id == task.id
    assert not (tmp_path / "none").exists()


def test_the_picture_of_the_seed_is_shown_and_its_name_demonstrated(few: EmojiCaption):
    for episode, judged in record_sources(few, Request(kind="demo", count=5)):
        seed, item = episode.header.seed, int(episode.header.start["item"])
        assert np.array_equal(episode.images[PICTURE][0], few.picture_at(seed))
        assert episode.applied is not None
        assert text_of(episode.applied[0]) == few.emoji.labels()[item]
        assert judged is not None
        assert judged.outcome == "success"


def test_the_instruction_does_not_tell_the_name(few: EmojiCaption):
    assert few.instruction == "caption (en)"
    assert few.make_world().reset(SEED).instruction == "caption (en)"


def test_only_the_whole_name_is_right_and_words_of_it_count(few: EmojiCaption):
    name = few.name_of(few.item_at(SEED))  # "thing 12"
    assert verdict(few, name.upper() + " ").outcome == "success"
    near = verdict(few, name.split()[0])
    assert near.outcome == "failure"
    assert near.score == pytest.approx(2 / 3)
    turned = verdict(few, " ".join(reversed(name.split())))
    assert (turned.outcome, turned.score) == ("failure", 0.99)
    assert verdict(few, "").score == 0


def test_any_name_of_the_same_drawing_is_right(few: EmojiCaption):
    emoji, asked = few.emoji, few.item_at(SEED)
    other = next(i for i in range(len(emoji)) if emoji.picture[i] != emoji.picture[asked])
    name = few.name_of(other)
    assert verdict(few, name).outcome == "failure"
    same = np.where(emoji.picture == emoji.picture[other], emoji.picture[asked], emoji.picture)
    few.emoji = replace(emoji, picture=same)
    assert verdict(few, name).outcome == "success"


def test_bytes_that_are_no_text_are_a_failure(few: EmojiCaption):
    judged = judge(few, written(few, np.full((1, 128), 200, np.float32)))
    assert judged.outcome == "failure"
    assert "UTF-8" in judged.reason


@pytest.mark.parametrize("spoil", ["twice", "nan", "columns", "instruction", "item"])
def test_evidence_that_does_not_tell_is_unknown(few: EmojiCaption, spoil: str):
    episode = written(few, action_of(few.name_of(few.item_at(SEED))))
    header, evidence = episode.header, episode.evidence
    assert evidence is not None
    assert few.verifier(header, evidence).outcome == "success"
    if spoil == "twice":
        evidence = np.repeat(evidence, 2, axis=0)
    elif spoil == "nan":
        evidence = np.where(np.arange(128) == 5, np.nan, evidence)
    elif spoil == "columns":
        header = replace(header, evidence=header.evidence[::-1])
    elif spoil == "instruction":
        header = replace(header, instruction="caption (tlh)")
    else:
        header = replace(header, start={"item": 1e9})
    judged = few.verifier(header, evidence)
    assert (judged.outcome, judged.score) == ("unknown", 0)


def test_one_text_is_taken_of_a_picture(few: EmojiCaption):
    world = few.make_world(image_px=40)
    assert world.reset(SEED).images[PICTURE].shape == (40, 40, 3)
    assert world.step(action_of("a cat")[0]).ended
    with pytest.raises(WorldError, match="a text was written"):
        world.step(action_of("a dog")[0])
