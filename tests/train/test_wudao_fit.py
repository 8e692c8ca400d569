from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from loopwright.core.canvas import PaintRequest, canvas_interface, rows_of
from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.learner import FitJob
from loopwright.core.policy import Candidate
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.store.corpus import CorpusFacts, array_column, open_corpus, write_corpus
from loopwright.train.wudao import SequenceBatches, TextPictures, WudaoFit, learn, paintings

TINY = {
    "pictures": {
        "px": 16,
        "width": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "levels": [4, 3, 3],
    },
    "width": 32,
    "heads": 2,
    "layers": 2,
    "hidden": 48,
    "mixture": {"experts": 3, "chosen": 2, "hidden": 24},
    "words": 60,
    "picture_steps": 4,
    "picture_batch": 8,
    "steps": 4,
    "batch": 8,
    "precision": "float32",
}


def corpus(folder: Path, *, px: int = 16, texts: tuple[str, ...] = ("red", "blue", "", "")) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (4, px, px, 3), dtype=np.uint8)
    field, column = array_column("pixels", pixels)
    fields = [
        field,
        pa.field("style", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("text.en", pa.string()),
        pa.field("text.zh", pa.string()),
    ]
    columns = [
        column,
        pa.array(["a", "a", "b", "b"]),
        pa.array([1.0, 1.0, 2.0, 2.0]),
        pa.array(texts),
        pa.array(["", "蓝", "红", "绿"]),
    ]
    facts = CorpusFacts(name="tiny", version=1, sources=(), settings={})
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    return write_corpus(folder / "tiny.parquet", table, facts=facts).path


def job(folder: Path, *corpora: Path, episodes: tuple[Episode, ...] = ()) -> FitJob:
    return FitJob(
        episodes=episodes, seed=3, out=folder / "out", scratch=folder / "scratch", corpora=corpora
    )


def painting(instruction: str = "paint (en, a): red") -> Episode:
    interface = canvas_interface(16)
    picture = np.full((16, 16, 3), 200, np.uint8)
    rows = rows_of(picture)
    header = EpisodeHeader(
        scenario="paint-v1",
        kind="attempt",
        seed=1,
        start={},
        instruction=instruction,
        body="robot",
        interface=interface,
        evidence=("row",),
        candidate="c",
    )
    return Episode(
        header=header,
        images={"canvas": np.repeat(picture[None], 16, axis=0)},
        time_s=np.arange(16) / 16,
        proprio=np.zeros((16, 1), np.float32),
        requested=rows,
        applied=rows,
        evidence=np.zeros((16, 1)),
    )


def test_the_same_job_gives_the_same_candidate_and_it_paints_and_writes(tmp_path: Path):
    path = corpus(tmp_path)
    first = learn(TINY, job(tmp_path / "1", path))
    again = learn(TINY, job(tmp_path / "2", path))
    assert first == again
    json.dumps(first)
    assert Candidate.open(tmp_path / "1/out").digest == first["candidate"]
    model = TextPictureModel.load(tmp_path / "1/out")
    assert model.words.tags() == ["a", "b", "en", "zh"]
    painted = model.paint([Prompt("red", "en", "a"), Prompt("红", "zh", "b")], seed=0)
    assert painted.shape == (2, 16, 16, 3)
    assert all(isinstance(text, str) for text in model.write(painted, language="zh"))


def test_a_fit_goes_on_in_the_precision_that_another_machine_began_in(tmp_path, monkeypatch):
    path, auto = corpus(tmp_path), {**TINY, "precision": "auto", "checkpoint_every_steps": 2}
    monkeypatch.setattr("loopwright.train.device._has_bfloat16", lambda device: True)
    first = learn(auto, job(tmp_path, path))
    assert first["precision"] == "bfloat16"
    monkeypatch.setattr("loopwright.train.device._has_bfloat16", lambda device: False)
    assert learn(auto, job(tmp_path, path)) == first


def test_a_batch_that_does_not_divide_is_refused_before_the_tokenizer_is_trained(tmp_path):
    with pytest.raises(InvalidConfig, match=r"batch is 8, .* 3 equal shares"):
        learn({**TINY, "accumulate": 3}, job(tmp_path, corpus(tmp_path)))
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(("power", "weights"), [(1.0, [1, 1, 1, 2, 2]), (0.0, [1, 1, 1, 1, 1])])
def test_pictures_are_shown_as_often_as_the_power_of_their_weights_says(
    tmp_path: Path, power: float, weights: list[int]
):
    path = corpus(tmp_path)
    learn(TINY, job(tmp_path, path))
    model, data = TextPictureModel.load(tmp_path / "out"), TextPictures.of([open_corpus(path)])
    fit = WudaoFit.from_json({**TINY, "weight_power": power})
    shares = np.diff(SequenceBatches(data, model, fit, seed=0).cumulative, prepend=0)
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights))


def test_a_dense_model_and_another_seed_are_other_candidates(tmp_path: Path):
    path = corpus(tmp_path)
    sparse = learn(TINY, job(tmp_path / "1", path))
    dense = learn({**TINY, "mixture": None}, job(tmp_path / "2", path))
    assert sparse["candidate"] != dense["candidate"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown keys"),
        ({"steps": 0}, "at least 1"),
        ({"noise": 2.0}, "0 to 1"),
        ({"precision": "float8"}, "float8"),
        ({"width": "128"}, "width is '128'; expected a whole number"),
        ({"heads": 0}, "heads is 0"),
        ({"layers": 1.5}, "layers is 1.5; expected a whole number"),
        ({"mixture": {"expert": 4}}, r"mixture has the unknown keys \['expert'\]"),
        ({"mixture": {"experts": 4}}, r"mixture lacks the keys \['chosen', 'hidden'\]"),
        ({"pictures": {"patch_px": 0}}, "pictures: patch_px is 0"),
        ({"pictures": {"levels": [4, "3"]}}, r"pictures\.levels\[1\] is '3'"),
        ({"teacher": {"folder": "there"}}, r"teacher has the unknown keys \['folder'\]"),
        ({"parallel": {"tensor": "2"}}, r"parallel\.tensor is '2'"),
        ({"schedule": "sine"}, "schedule is 'sine'; expected one of 'cosine'"),
        ({"final_rate": 2.0}, "final_rate is 2.0"),
        ({"average_decay": 1.0}, "average_decay is 1.0"),
        ({"peak_tflop_s": 0.0}, "peak_tflop_s is 0.0"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, change: dict, message: str):
    with pytest.raises(Exception, match=message) as caught:
        learn({**TINY, **change}, job(tmp_path, corpus(tmp_path)))
    assert type(caught.value).__module__ == "loopwright.core.errors"


@pytest.mark.parametrize(
    "change", [{"schedule": "constant"}, {"final_rate": 0.9}, {"average_decay": 0.5}], ids=str
)
def test_how_rates_fall_and_whether_weights_are_averaged_is_a_setting(tmp_path: Path, change):
    path = corpus(tmp_path)
    usual = learn(TINY, job(tmp_path / "1", path))
    changed = learn({**TINY, **change}, job(tmp_path / "2", path))
    assert usual["candidate"] != changed["candidate"]


def test_what_the_device_can_compute_shapes_nothing():
    fit = WudaoFit.from_json(TINY)
    assert replace(fit, average_decay=0.9).shaping() == {**fit.shaping(), "average_decay": 0.9}
    assert replace(fit, peak_tflop_s=9.0).shaping() == fit.shaping()


def test_a_teacher_counts_by_what_it_is_and_says_and_not_by_where_it_lies(tmp_path: Path):
    learn(TINY, job(tmp_path / "1", corpus(tmp_path)))
    shutil.copytree(tmp_path / "1" / "out", tmp_path / "moved")
    here = {**TINY, "teacher": {"path": str(tmp_path / "1" / "out")}}
    shaped = WudaoFit.from_json(here).shaping()
    moved = {**here, "teacher": {"path": str(tmp_path / "moved")}}
    assert WudaoFit.from_json(moved).shaping() == shaped
    softer = {**here, "teacher": {**here["teacher"], "temperature": 3.0}}
    assert WudaoFit.from_json(softer).shaping() != shaped


def test_turns_shape_the_result_where_a_loss_balances_the_experts():
    fit = WudaoFit.from_json(TINY)
    assert replace(fit, accumulate=2).shaping() == fit.shaping()
    assert fit.mixture is not None
    balanced = replace(fit, mixture=replace(fit.mixture, balance_weight=0.01))
    assert replace(balanced, accumulate=2).shaping() != balanced.shaping()


def test_nothing_to_learn_from_is_refused(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="no corpus"):
        learn(TINY, job(tmp_path))


def test_a_damaged_corpus_is_refused(tmp_path: Path):
    path = corpus(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedData):
        learn(TINY, job(tmp_path, path))


class TestPaintings:
    def test_a_painting_of_ones_own_is_learned_from_with_its_request(self):
        (found,) = paintings([painting()])
        assert found.request == PaintRequest("red", "en", "a")
        assert found.picture.shape == (16, 16, 3)
        assert (found.picture == 200).all()

    def test_paintings_join_a_corpus_with_the_mean_weight(self, tmp_path: Path):
        data = TextPictures.of([open_corpus(corpus(tmp_path))], paintings([painting()]))
        assert len(data.pixels) == 5
        assert data.weight[-1] == pytest.approx(1.5)
        assert data.texts["en"].tolist() == ["red", "blue", "", "", "red"]
        assert data.texts["zh"].tolist() == ["", "蓝", "红", "绿", ""]

    def test_an_episode_that_paints_nothing_is_refused(self):
        with pytest.raises(InvalidConfig, match="asks for no picture"):
            paintings([painting("press the button")])

    def test_pictures_of_two_sizes_are_refused(self, tmp_path: Path):
        with pytest.raises(InvalidConfig, match="shapes"):
            learn(TINY, job(tmp_path, corpus(tmp_path, px=32), episodes=(painting(),)))
