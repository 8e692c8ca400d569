"""Members of a family of text-picture models, on drawings of a few coloured bars."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loopwright.cli import main
from loopwright.core.errors import InvalidConfig
from loopwright.core.learner import FitJob
from loopwright.store.corpus import CorpusFacts, array_column, open_corpus, write_corpus
from loopwright.train import wudao_family
from loopwright.train.checkpoint import load_checkpoint
from loopwright.train.wudao import TextPictures, learn

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 40), "blue": (30, 60, 220)}
TOKENIZERS: dict[str, Any] = {
    "pictures": {
        "px": 16,
        "patch_px": 4,
        "width": 16,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "levels": [4, 4],
    },
    "words": 60,
    "width": 16,
    "layers": 1,
    "heads": 1,
    "hidden": 16,
    "mixture": None,
    "picture_steps": 30,
    "picture_batch": 16,
    "steps": 1,
    "batch": 4,
    "precision": "float32",
}
MEMBER: dict[str, Any] = {"words": 60, "batch": 8, "noise": 0.0, "precision": "float32"}
DENSE: dict[str, Any] = {"width": 16, "layers": 2, "heads": 1, "hidden": 24, "mixture": None}


def write_bars(path: Path) -> Path:
    """Write drawings of two bars with their names; some are drawn alike."""
    pixels, texts = [], []
    for upper, over in COLOURS.items():
        for lower, under in COLOURS.items():
            for height in range(1, 16):
                image = np.full((16, 16, 3), 255, np.uint8)
                image[:height], image[height:] = over, under
                pixels.append(image)
                texts.append(f"{upper} {height} over {lower}")
    field, column = array_column("pixels", np.stack(pixels))
    table = pa.Table.from_arrays(
        [column, pa.array(["flat"] * len(texts)), pa.array([1.0] * len(texts)), pa.array(texts)],
        schema=pa.schema(
            [
                field,
                pa.field("style", pa.string()),
                pa.field("weight", pa.float64()),
                pa.field("text.en", pa.string()),
            ]
        ),
    )
    facts = CorpusFacts(name="bars", version=1, sources=(), settings={})
    return write_corpus(path, table, facts=facts).path


def job(folder: Path, corpus: Path, start: Path | None, seed: int = 0) -> FitJob:
    return FitJob(
        episodes=(),
        seed=seed,
        out=folder / "candidate",
        scratch=folder / "scratch",
        corpora=[corpus],
        start=start,
    )


def train_member(config: dict[str, Any], made: FitJob) -> dict[str, Any]:
    return dict(wudao_family.learn({**MEMBER, **config}, made))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars") / "bars.parquet")


@pytest.fixture(scope="module")
def make_start(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    def make(seed: int) -> Path:
        folder = tmp_path_factory.mktemp("tokenizers")
        learn(TOKENIZERS, job(folder, corpus, None, seed))
        return folder / "candidate"

    return make


@pytest.fixture(scope="module")
def start(make_start: Callable[[int], Path]) -> Path:
    return make_start(0)


def test_what_a_member_says_of_itself_is_what_is_measured(corpus, start, tmp_path):
    made = job(tmp_path, corpus, start)
    facts = train_member({**DENSE, "tokens": 3000}, made)
    found = wudao_family.measure(made.out, start, [corpus])
    assert found["loss"] == facts["loss"]
    assert found["params"] == facts["params"] == wudao_family.params_of(DENSE)
    assert found["tokens"] == facts["tokens"] == pytest.approx(3000, rel=0.03)
    assert 0 < facts["loss"] < np.log(60)
    assert 0.2 < facts["epochs"] < 2
    # At least a forward and a backward pass of the layers.
    assert facts["flops"] > 4 * facts["params"] * facts["tokens"]


def test_more_tokens_lower_the_loss_on_drawings_that_were_held_out(corpus, start, tmp_path):
    losses = [
        train_member({**DENSE, "tokens": tokens}, job(tmp_path / str(tokens), corpus, start))[
            "loss"
        ]
        for tokens in (500, 8000)
    ]
    assert losses[1] < losses[0] - 0.1


def test_equal_drawings_lie_on_one_side(corpus):
    data = TextPictures.of([open_corpus(corpus)])
    shown, held = wudao_family._divided(data)
    assert len(shown.pixels) + len(held.pixels) == len(data.pixels)
    assert len(held.pixels) > 0
    sides = [{image.tobytes() for image in part.pixels} for part in (shown, held)]
    assert sides[0].isdisjoint(sides[1])
    again = wudao_family._divided(replace(data, pixels=data.pixels[::-1]))
    assert {image.tobytes() for image in again[1].pixels} == sides[1]


def test_a_sparse_member_counts_what_a_token_meets(corpus, start, tmp_path):
    sparse = {**DENSE, "mixture": {"experts": 4, "chosen": 2, "hidden": 12, "bias_rate": 0.01}}
    facts = train_member({**sparse, "tokens": 500}, job(tmp_path, corpus, start))
    router = 16 * 4
    assert facts["params"] == wudao_family.params_of(DENSE) + router
    assert wudao_family.measure(tmp_path / "candidate", start, [corpus])["loss"] == facts["loss"]


def test_a_model_with_other_tokenizers_is_refused(corpus, start, make_start):
    with pytest.raises(InvalidConfig, match="other tokenizers"):
        wudao_family.measure(make_start(1), start, [corpus])


def test_a_member_needs_tokenizers_to_start_from(corpus, tmp_path):
    with pytest.raises(InvalidConfig, match="start"):
        train_member({**DENSE, "tokens": 500}, job(tmp_path, corpus, None))


def test_a_member_that_runs_away_says_so(corpus, start, tmp_path):
    wild = {**DENSE, "tokens": 3000, "learning_rate": 1e30, "muon_rate": 1e30}
    assert train_member(wild, job(tmp_path, corpus, start)) == {"loss": None}


RECIPE = """
from loopwright.loop.config import CorpusPlan, Learner
from loopwright.recipes.scaling import ScalingStudy, Size
from loopwright.recipes.training import Training
from loopwright.train.wudao_family import params_of

CORPUS = CorpusPlan(entry="bars_corpus:build", config={{"path": {path!r}}})

def size(width, layers):
    config = {{"width": width, "layers": layers, "heads": 1, "hidden": width * 2,
               "mixture": None}}
    return Size(label=f"{{width}}x{{layers}}", params=params_of(config), config=config)

def recipe():
    return ScalingStudy(
        name="bars",
        learner=Learner(entry="loopwright.train.wudao_family:learn", corpora=(CORPUS,),
                        config={member!r}),
        sizes=(size(4, 1), size(8, 1), size(16, 2)),
        tokens=(2000, 6000, 18000),
        held_back=(size(24, 2), 18000),
        shared=Training(name="tokenizers", learner=Learner(
            entry="loopwright.train.wudao:learn", corpora=(CORPUS,), config={tokenizers!r})),
        measure="loopwright.train.wudao_family:measure",
    )
"""


@pytest.mark.slow
def test_a_grid_of_real_trainings_through_the_command_line(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bars_corpus.py").write_text(
        "from pathlib import Path\n\ndef build(path, progress):\n    return Path(path)\n"
    )
    recipe = tmp_path / "bars.py"
    recipe.write_text(
        RECIPE.format(path=str(corpus), member=MEMBER, tokenizers=TOKENIZERS), encoding="utf-8"
    )
    words = ["scale", str(recipe), "--out", str(tmp_path / "study"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(len(size["runs"]) for size in found["sizes"]) == 9
    assert all(run["flops"] > 0 for size in found["sizes"] for run in size["runs"])
    (held,) = found["held_back"]
    assert held["truth"] == pytest.approx(held["one_run"]["value"], rel=0.25)
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out) == found
    member = tmp_path / "study/points/16x2-18000-0/candidate"
    # So small a grid is noisy: how far the answer lies outside of it does not matter here.
    words = ["density", str(member), "--study", str(tmp_path / "study"), "--json"]
    assert main([*words, "--max-extrapolation", "1e12"]) == 0
    density = json.loads(capsys.readouterr().out)
    low, high = (float(density["density"][end]) for end in ("low", "high"))
    # A member of the family is worth what it has, as far as these runs can tell.
    assert low < 1 < high


def test_a_member_is_trained_in_the_precision_and_turns_that_are_asked_for(corpus, start, tmp_path):
    facts = {
        name: train_member({**DENSE, **change, "tokens": 500}, job(tmp_path / name, corpus, start))
        for name, change in {
            "usual": {},
            "rounded": {"precision": "bfloat16"},
            "turns": {"accumulate": 2, "checkpoint_every_steps": 2},
        }.items()
    }
    assert facts["rounded"]["candidate"] != facts["usual"]["candidate"]
    kept = {
        name: load_checkpoint(tmp_path / name / "scratch/sequences.safetensors") for name in facts
    }
    assert [found.precision for found in kept.values() if found] == [
        "float32",
        "bfloat16",
        "float32",
    ]
    # Two turns of half the batch give the same up to rounding, which takes other weights.
    assert facts["turns"]["candidate"] != facts["usual"]["candidate"]
    for name in ("turns", "rounded"):
        assert facts[name]["loss"] == pytest.approx(facts["usual"]["loss"], rel=0.02)
    assert facts["turns"]["flops"] == pytest.approx(facts["usual"]["flops"], rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture_steps": 3, "steps": 9}, r"leave \['picture_steps', 'steps'\] away"),
        ({"accumulate": 3}, "batch is 8, which does not divide into 3"),
        ({"tokens": "many"}, "tokens is 'many'"),
        ({"tokens": None}, "tokens is None"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_settings_that_do_not_apply_are_refused_by_name(corpus, start, tmp_path, change, message):
    with pytest.raises(InvalidConfig, match=message):
        train_member({**DENSE, "tokens": 500, **change}, job(tmp_path, corpus, start))


def test_a_member_that_was_to_be_spread_over_processes_is_refused(corpus, start, tmp_path):
    spread = {**DENSE, "tokens": 500, "parallel": {"data": "shard"}}
    with pytest.raises(InvalidConfig, match="trained by one process"):
        train_member(spread, job(tmp_path, corpus, start))
