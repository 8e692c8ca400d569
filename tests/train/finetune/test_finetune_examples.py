"""A bad line is told by its number, with what was expected there."""

from __future__ import annotations

import json

import pytest

from loopwright.train.finetune.examples import InvalidExamples, read_conversations, read_pairs

GOOD = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
PAIR = {"prompt": "hi", "chosen": "hello", "rejected": "no"}


def write(path, *lines):
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[]", "JSON list; expected an object"),
        ({}, "'messages' is missing"),
        ({"messages": []}, "expected a list of"),
        ({"messages": ["hi"]}, r"messages\[0\] is 'hi'"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\]\['content'\] is missing"),
        ({"messages": [{"role": "user", "content": 3}]}, "is 3; expected a text"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "no reply to learn"),
        ({"messages": GOOD["messages"][1:]}, "first message is a reply"),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said(tmp_path, line, said):
    path = write(tmp_path / "data.jsonl", GOOD, "", line)
    with pytest.raises(InvalidExamples, match=f"line 3: .*{said}"):
        read_conversations(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": None}, "'prompt' is missing"),
        ({"chosen": ""}, "'chosen' is ''"),
        ({"rejected": ["no"]}, "'rejected' is .'no'.; expected a text"),
        ({"rejected": "hello"}, "nothing to prefer"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said(tmp_path, changes, said):
    path = write(tmp_path / "data.jsonl", PAIR, {**PAIR, **changes})
    with pytest.raises(InvalidExamples, match=f"line 2: .*{said}"):
        read_pairs(path)


def test_many_bad_lines_are_counted(tmp_path):
    path = write(tmp_path / "data.jsonl", GOOD, *["{"] * 8)
    with pytest.raises(InvalidExamples, match=r"(?s)line 2.*line 6.*and 3 more"):
        read_conversations(path)


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\xff\xfe\x00\n")
    with pytest.raises(InvalidExamples, match="line 2"):
        read_conversations(path)


def test_a_file_that_is_empty_or_absent_is_told(tmp_path):
    with pytest.raises(InvalidExamples, match="holds no example"):
        read_conversations(write(tmp_path / "data.jsonl", "", ""))
    with pytest.raises(InvalidExamples, match="No such file"):
        read_conversations(tmp_path / "absent.jsonl")


def test_line_separators_inside_a_text_do_not_break_it(tmp_path):
    chat = {"messages": [*GOOD["messages"][:1], {"role": "assistant", "content": "a\u2028b\u0085"}]}
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(chat, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_conversations(path)[0].messages[1]["content"] == "a\u2028b\u0085"


def test_a_prompt_may_be_a_conversation(tmp_path):
    path = write(tmp_path / "data.jsonl", PAIR, {**PAIR, "prompt": GOOD["messages"][:1]})
    first, second = read_pairs(path)
    assert first.prompt == second.prompt
