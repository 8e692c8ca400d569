"""Painting as a scenario: who is asked for what, what is recorded, and how it is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import painted_emoji
from loopwright.core.canvas import PaintRequest, rows_of
from loopwright.core.control import Recorder, attempt_header, run_episode
from loopwright.core.episode import Episode, Outcome
from loopwright.core.errors import InvalidConfig, WorldError
from loopwright.core.scenario import SPLITS, Request, instruction_for, seeds_in, split_seed
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.emoji.asking import SEEN_SHARE, Asking
from loopwright.scenarios.emoji.items import EmojiTask
from loopwright.scenarios.emoji.painting import TASKS, EmojiPaint
from loopwright.scenarios.emoji.retrieval import Gallery, look_of
from loopwright.scenarios.emoji.splits import load_splits
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import judge, record_sources

WHOLE = EmojiTask(id="emoji-paint-v1", px=16)
FEW = EmojiTask(id="emoji-paint-tiny-v1", px=16, groups=("animals-nature",))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return painted_emoji.write_cache(tmp_path_factory.mktemp("cache"), patch, 16)


@pytest.fixture(scope="module")
def whole(cache: Path) -> EmojiPaint:
    return EmojiPaint(WHOLE, cache)


@pytest.fixture(scope="module")
def few(cache: Path) -> EmojiPaint:
    return EmojiPaint(FEW, cache)


def painted(scenario: EmojiPaint, seed: int, picture: np.ndarray) -> Episode:
    """Return the episode of a policy that paints one picture whatever is asked."""

    class Painter:
        def reset(self, seed: int) -> None: ...

        def act(self, observation):
            return rows_of(picture)

    recorder = Recorder()
    run_episode(
        world=scenario.make_world(),
        policy=Painter(),
        header=attempt_header(scenario, seed, candidate=None),
        max_steps=scenario.max_steps,
        subscribers=(recorder,),
    )
    return recorder.episode()


def outcome(scenario: EmojiPaint, seed: int, picture: np.ndarray) -> Outcome:
    return judge(scenario, painted(scenario, seed, picture)).outcome


# --- The contract, and what naming costs ---


@pytest.mark.parametrize("task", [WHOLE, FEW])
def test_painting_keeps_the_contract(task: EmojiTask, cache: Path):
    report = check_scenario(EmojiPaint(task, cache))
    assert report.ok, str(report)
    assert report.kinds == ("demo", "play", "video")


@pytest.mark.parametrize("task", TASKS)
def test_naming_a_scenario_loads_nothing(task: EmojiTask, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "")  # no npm to fetch with
    scenario = get_scenario(task.id)
    assert scenario.id == task.id
    assert scenario.max_steps == task.px
    assert not (tmp_path / "none").exists()


# --- What is asked for ---


def test_train_seeds_ask_only_for_what_may_be_learned(whole: EmojiPaint):
    emoji, splits = whole.emoji, load_splits()
    for index in range(300):
        item = int(whole.start(split_seed("train", index))["item"])
        assert splits.is_train(emoji.hexcode[item], "twemoji")


@pytest.mark.parametrize(("split", "part"), [("gate", "tune"), ("sealed", "report")])
def test_held_out_seeds_ask_from_their_own_frozen_lists(whole: EmojiPaint, split, part):
    emoji, splits = whole.emoji, load_splits()
    items = [int(whole.start(split_seed(split, index))["item"]) for index in range(400)]
    kinds = {h: k for k in ("seen", "tone", "gender", "colour") for h in splits.hexcodes[k][part]}
    asked = [kinds[h] for h in emoji.hexcode[items]]  # a KeyError names what should not be asked
    assert set(asked) == {"seen", "tone", "gender", "colour"}
    # 400 draws at one half: five standard deviations are an eighth.
    assert asked.count("seen") / 400 == pytest.approx(SEEN_SHARE, abs=0.125)


def test_a_few_groups_are_asked_for_in_two_halves(few: EmojiPaint):
    emoji = few.emoji
    asked = {
        split: {int(few.start(split_seed(split, index))["item"]) for index in range(400)}
        for split in SPLITS
    }
    assert not asked["gate"] & asked["sealed"]
    assert asked["gate"] | asked["sealed"] == asked["train"]
    assert {emoji.group[item] for item in asked["train"]} == {"animals-nature"}


def test_groups_that_do_not_exist_are_refused(whole: EmojiPaint):
    with pytest.raises(InvalidConfig, match="no emoji of minerals"):
        Asking.of(whole.emoji, load_splits(), groups=("minerals",))


def test_every_episode_says_what_its_seed_asks_for(whole: EmojiPaint):
    made = list(record_sources(whole, Request(kind="demo", count=6)))
    assert len({episode.header.instruction for episode, _ in made}) > 1
    for episode, verdict in made:
        request = PaintRequest.from_instruction(episode.header.instruction)
        item = int(episode.header.start["item"])
        assert request.text == whole.emoji.labels()[item]
        assert episode.header.instruction == instruction_for(whole, episode.header.seed)
        assert verdict is not None
        assert verdict.outcome == "success"


def test_a_box_of_items_is_a_part_of_the_domain(few: EmojiPaint):
    box = few.domain.portion("item", 0.0, 0.2)
    seeds = seeds_in(few, "train", box)
    assert all(box.contains(few.start(next(seeds))) for _ in range(10))


# --- The canvas ---


def test_evidence_alone_gives_the_picture_back(whole: EmojiPaint):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    episode = painted(whole, 3, picture)
    assert episode.evidence is not None
    assert np.array_equal(episode.evidence.reshape(16, 16, 3), picture)
    # Row t of the images is what was seen before action t.
    assert np.array_equal(episode.images["canvas"][15][:15], picture[:15])


def test_films_repeat_pixels(whole: EmojiPaint):
    world = whole.make_world(image_px=40)
    world.reset(0)
    row = np.linspace(0, 1, 48, dtype=np.float32)
    image = world.step(row).observation.images["canvas"]
    assert image.shape == (40, 40, 3)
    assert {tuple(c) for c in image[0]} == {tuple(c) for c in np.round(row * 255).reshape(16, 3)}


def test_a_full_canvas_takes_no_more(whole: EmojiPaint):
    world = whole.make_world()
    world.reset(0)
    ended = [world.step(np.zeros(48, np.float32)).ended for _ in range(16)]
    assert ended == [False] * 15 + [True]
    with pytest.raises(WorldError, match="all 16 rows"):
        world.step(np.zeros(48, np.float32))


# --- The verdict ---


def test_only_the_asked_picture_is_right(few: EmojiPaint):
    seed = split_seed("gate", 0)
    asked = int(few.start(seed)["item"])
    right = [
        item
        for item in range(len(few.emoji))
        if outcome(few, seed, few.emoji.pixels[item]) == "success"
    ]
    assert [few.emoji.picture[item] for item in right] == [few.emoji.picture[asked]]


def test_a_shared_drawing_is_right_for_every_name(few: EmojiPaint):
    emoji, seed = few.emoji, split_seed("gate", 0)
    asked = int(few.start(seed)["item"])
    other = (asked + 1) % len(emoji)
    shared = replace(emoji, picture=np.where(emoji.picture == other, asked, emoji.picture))
    gallery = Gallery.of(shared, "twemoji")
    assert len(gallery) == len(Gallery.of(emoji, "twemoji")) - 1
    assert gallery.rank(gallery.distances(emoji.pixels[asked]), int(shared.picture[other])) == 1


@given(seed=st.integers(0, 2**32 - 1))
def test_a_slightly_wrong_picture_is_still_the_nearest(few: EmojiPaint, seed: int):
    random = np.random.default_rng(seed)
    start = split_seed("sealed", int(random.integers(100)))
    noise = random.normal(0, 8, (16, 16, 3))
    picture = np.clip(few.picture_at(start) + noise, 0, 255).astype(np.uint8)
    assert outcome(few, start, picture) == "success"


def test_the_score_is_one_over_the_rank(few: EmojiPaint):
    seed = split_seed("gate", 1)
    asked = int(few.emoji.picture[int(few.start(seed)["item"])])
    gallery = Gallery.of(few.emoji, "twemoji")
    picture = few.emoji.pixels[(asked + 5) % len(few.emoji)]
    far = np.square(gallery.looks - look_of(picture[None])).sum(axis=1)
    nearer = int((far < far[gallery.picture.tolist().index(asked)]).sum())
    verdict = judge(few, painted(few, seed, picture))
    assert verdict.outcome == "failure"
    assert verdict.score == pytest.approx(1 / (nearer + 1))


def test_a_tie_is_no_success(few: EmojiPaint):
    gallery = Gallery.of(few.emoji, "twemoji")
    assert gallery.rank(np.zeros(len(gallery)), int(gallery.picture[0])) == len(gallery)


@pytest.mark.parametrize("spoil", ["half", "nan", "range", "columns", "instruction", "item"])
def test_evidence_that_does_not_tell_is_unknown(few: EmojiPaint, spoil: str):
    seed = split_seed("gate", 0)
    episode = painted(few, seed, few.picture_at(seed))
    header, evidence = episode.header, episode.evidence
    assert evidence is not None
    assert few.verifier(header, evidence).outcome == "success"
    if spoil == "half":
        evidence = evidence[:8]
    elif spoil == "nan":
        evidence = np.where(np.arange(48) == 5, np.nan, evidence)
    elif spoil == "range":
        evidence = evidence + 300
    elif spoil == "columns":
        header = replace(header, evidence=header.evidence[::-1])
    elif spoil == "instruction":
        header = replace(header, instruction="paint (en, twemoji): something easier")
    else:
        header = replace(header, start={"item": 1e9})
    verdict = few.verifier(header, evidence)
    assert verdict.outcome == "unknown"
    assert verdict.score == 0
