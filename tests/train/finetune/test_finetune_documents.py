"""What the model learns to say is what the assistant said, and how it ends; nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.models.language import LanguageModel
from loopwright.train.finetune.documents import documents_of, reply_document
from tiny_language import CHATML, MARKED, make_network, make_tokenizer

FORGETFUL = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and not loop.last %}{{ message.content.split('@')[-1] }}"
    "{% else %}{{ message.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "the colour of the sky?"},
    {"role": "assistant", "content": "think@blue"},
    {"role": "user", "content": "of the rose?"},
    {"role": "assistant", "content": "red. é 日本"},
)


def make_model(template: str | None) -> LanguageModel:
    return LanguageModel(make_network(), make_tokenizer(template), digest="")


@pytest.fixture(scope="module")
def plain() -> LanguageModel:
    return make_model(CHATML)


def learned(model, document) -> str:
    tokens = [
        t for t, is_learned in zip(document.tokens, document.learned, strict=True) if is_learned
    ]
    return model.tokenizer.decode(tokens)


def test_every_reply_is_learned_with_its_end(plain):
    (document,) = documents_of(plain, CHAT)
    assert learned(plain, document) == "think@blue<|im_end|>red. é 日本<|im_end|>"
    assert list(document.tokens) == plain.encode_chat(CHAT, reply=False)


def test_marks_of_the_template_and_marks_found_without_agree(plain):
    assert documents_of(make_model(MARKED), CHAT) == documents_of(plain, CHAT)


def test_a_template_that_forgets_gives_a_document_for_each_reply():
    model = make_model(FORGETFUL)
    first, second = documents_of(model, CHAT)
    assert learned(model, first) == "think@blue<|im_end|>"
    assert learned(model, second) == "red. é 日本<|im_end|>"
    assert "think" not in model.decode(second.tokens)


def test_a_reply_is_learned_after_what_the_model_is_asked_with(plain):
    document = reply_document(plain, CHAT[:2], "blue")
    asked = plain.encode_chat(CHAT[:2])
    assert list(document.tokens[: len(asked)]) == asked
    assert document.learned.index(True) == len(asked)


@settings(max_examples=60)
@given(reply=st.text(min_size=1, max_size=30).filter(lambda text: "<|" not in text))
def test_any_reply_is_learned_whole(plain, reply):
    document = reply_document(plain, CHAT[:2], reply)
    expected = plain.tokenizer.decode(plain.tokenizer.encode(reply, add_special_tokens=False))
    assert learned(plain, document) == f"{expected}<|im_end|>"


def test_a_template_that_opens_with_a_thought_does_not_hide_the_reply():
    thoughtful = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>{% endif %}")
    model = make_model(thoughtful)
    assert learned(model, reply_document(model, CHAT[:2], "blue")) == "blue<|im_end|>"


def test_a_model_without_template_says_so():
    with pytest.raises(InvalidConfig, match="no chat template"):
        documents_of(make_model(None), CHAT)


def test_a_template_that_refuses_is_quoted():
    model = make_model("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InvalidConfig, match="roles must alternate"):
        documents_of(model, CHAT)
