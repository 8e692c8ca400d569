from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from loopwright.core.errors import InvalidConfig
from loopwright.models.language.loading import load
from loopwright.train.evaluate.language import chat, perplexity
from loopwright.train.evaluate.run import evaluate
from tiny_language import CORPUS, make_folder

TEXT = "\n".join(CORPUS[:4])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    return load(make_folder(tmp_path_factory.mktemp("tiny") / "model"))


def test_the_perplexity_is_that_of_the_tokens(model, tmp_path: Path):
    (tmp_path / "text.txt").write_text(TEXT)
    task = perplexity(tmp_path / "text.txt", characters=100)
    assert len(task.items) == 4
    assert "".join(item.text for item in task.items) == TEXT
    found = evaluate(task, model)
    nats = torch.cat(model.losses([model.encode(item.text) for item in task.items]))
    assert found.headline.value == pytest.approx(math.exp(float(nats.mean())), rel=1e-5)
    bits = float(nats.sum()) / math.log(2) / len(TEXT.encode())
    assert found.score("bits_per_byte").value == pytest.approx(bits, rel=1e-5)


def test_a_long_line_is_cut(tmp_path: Path):
    (tmp_path / "text.txt").write_text("x" * 250)
    task = perplexity(tmp_path / "text.txt", characters=100)
    assert [len(item.text) for item in task.items] == [100, 100, 50]


def test_a_stretch_that_does_not_fit_is_refused(model, tmp_path: Path):
    (tmp_path / "text.txt").write_text("q7" * 2000)
    with pytest.raises(InvalidConfig, match="fewer characters"):
        evaluate(perplexity(tmp_path / "text.txt", characters=4000), model)


def test_a_reply_is_right_word_for_word(model, tmp_path: Path):
    question = [{"role": "user", "content": "one two"}]
    asked = chat_file(tmp_path, [*question, {"role": "assistant", "content": "never said"}])
    said = evaluate(chat(asked, max_tokens=8), model).answers[0]
    right = chat_file(tmp_path, [*question, {"role": "assistant", "content": said.upper()}])
    found = evaluate(chat(right, max_tokens=8), model)
    assert found.headline.value == 1
    assert found.headline.low < 0.2  # one item proves next to nothing


def chat_file(folder: Path, messages: list[dict[str, str]]) -> Path:
    path = folder / "chat.jsonl"
    path.write_text(json.dumps({"messages": messages}) + "\n")
    return path


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "{}",
        '{"messages": []}',
        '{"messages": [{"role": "assistant", "content": "alone"}]}',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
    ],
)
def test_a_line_that_is_no_conversation_is_named(tmp_path: Path, line: str):
    (tmp_path / "chat.jsonl").write_text(line + "\n")
    with pytest.raises(InvalidConfig, match="line 1"):
        chat(tmp_path / "chat.jsonl")
