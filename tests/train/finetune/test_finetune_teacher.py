"""A student of a language model learns what its teacher believes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loopwright.core.errors import InvalidConfig
from loopwright.models.language import Sampling, load
from loopwright.train.finetune.config import AdaptConfig, FinetuneConfig
from loopwright.train.finetune.run import finetune
from loopwright.train.teacher import TeacherConfig
from tiny_language import make_folder, make_tokenizer

COLOURS = {"sky": "blue", "field": "green", "rose": "red", "sea": "blue", "copper": "red"}
ALONE = FinetuneConfig(
    adapt=AdaptConfig(method="full"),
    epochs=12.0,
    batch=2,
    row_tokens=64,
    learning_rate=3e-3,
)


def quiet(fraction: float, message: str) -> None:
    """Show no progress."""


def written(path, colours):
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"the colour of the {thing}?"},
                {"role": "assistant", "content": f"{colour}."},
            ]
        }
        for thing, colour in colours.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("taught")


@pytest.fixture(scope="module")
def teacher(folder):
    everything = written(folder / "all.jsonl", COLOURS)
    base = make_folder(folder / "large", "qwen3", seed=1)
    config = replace(ALONE, epochs=40.0)
    return finetune(base, everything, folder / "teacher", config, progress=quiet).folder


def taught_by(path, **changes) -> FinetuneConfig:
    return replace(ALONE, teacher=TeacherConfig(path=str(path), **changes))


def first_word(folder) -> str:
    model = load(folder)
    question = [{"role": "user", "content": "the colour of the sky?"}]
    answer = model.generate(model.encode_chat(question), Sampling(temperature=0.0, max_tokens=8))
    return answer.text


def test_a_student_believes_its_teacher_more_than_wrong_data(folder, teacher):
    data = written(folder / "wrong.jsonl", {"sky": "red", "field": "red"})
    base = make_folder(folder / "small")
    longer = {"epochs": 80.0}
    alone = finetune(base, data, folder / "alone", replace(ALONE, **longer), progress=quiet)
    config = replace(taught_by(teacher, share=1.0), **longer)
    taught = finetune(base, data, folder / "taught", config, progress=quiet)
    said = [first_word(made.folder) for made in (alone, taught)]
    assert said[0].startswith("red")
    # Its own first letter, then on as the data go on: their words are what it was shown.
    assert said[1][0] == first_word(teacher)[0] == "b"
    assert taught.steps == alone.steps
    assert set(taught.curves) >= {"taught", "replies", "loss"}
    assert taught.candidate.lineage["teacher"] == load(teacher).digest


def test_where_the_teacher_lies_changes_no_byte(folder, teacher, tmp_path):
    data = written(tmp_path / "few.jsonl", {"sky": "blue"})
    base = make_folder(folder / "another")
    (tmp_path / "elsewhere").symlink_to(teacher)
    made = [
        finetune(base, data, tmp_path / str(number), taught_by(path), progress=quiet)
        for number, path in enumerate((teacher, tmp_path / "elsewhere"))
    ]
    assert made[0].candidate.digest == made[1].candidate.digest


def test_a_teacher_with_another_vocabulary_is_refused_by_name(folder, teacher, tmp_path):
    stranger = make_folder(tmp_path / "stranger")
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["quartz"])
    tokenizer.save_pretrained(stranger)
    data = written(tmp_path / "few.jsonl", {"sky": "blue"})
    with pytest.raises(InvalidConfig, match=r"stranger has another vocabulary.*quartz"):
        finetune(teacher, data, tmp_path / "out", taught_by(stranger), progress=quiet)


def test_preferences_have_no_teacher():
    with pytest.raises(InvalidConfig, match="no teacher"):
        FinetuneConfig(objective="dpo", teacher=TeacherConfig(path="teacher"))
