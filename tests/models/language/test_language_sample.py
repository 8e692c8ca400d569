"""Text comes token by token, whole characters at a time, and the same again for the same seed."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.models.language import LanguageModel, Sampling
from loopwright.models.language.sample import Detokeniser, StopWatch, draw
from tiny_language import make_network, make_tokenizer

PROMPT = [{"role": "user", "content": "what is the capital of france?"}]


@pytest.fixture(scope="module", params=["llama", "qwen3_moe"])
def model(request) -> LanguageModel:
    return LanguageModel(make_network(request.param).eval(), make_tokenizer(), digest="")


def test_the_cache_changes_nothing(model):
    """Each token is as likely as without a cache, where the whole text is read at once."""
    prompt = model.encode_chat(PROMPT)
    answer = model.generate(prompt, Sampling(max_tokens=30, seed=1))
    apart = model.losses([prompt + list(answer.tokens)])[0][-len(answer.tokens) :]
    torch.testing.assert_close(-apart, torch.tensor(answer.log_probabilities), atol=1e-4, rtol=1e-4)


def test_a_seed_fixes_the_text_and_temperature_zero_needs_none(model):
    prompt = model.encode_chat(PROMPT)

    def tokens(**how):
        return model.generate(prompt, Sampling(max_tokens=12, **how)).tokens

    assert tokens(seed=4) == tokens(seed=4) != tokens(seed=5)
    assert tokens(seed=4, temperature=0.0) == tokens(seed=5, temperature=0.0)
    assert tokens(seed=4, top_k=1) == tokens(temperature=0.0)


def test_the_global_generator_is_left_alone(model):
    before = torch.get_rng_state()
    model.generate(model.encode_chat(PROMPT), Sampling(max_tokens=4))
    assert torch.equal(before, torch.get_rng_state())


def test_a_stream_joins_to_the_answer(model):
    prompt, sampling = model.encode_chat(PROMPT), Sampling(max_tokens=25, seed=1)
    pieces = list(model.stream(prompt, sampling))
    answer = model.generate(prompt, sampling)
    assert "".join(piece.text for piece in pieces) == answer.text == model.decode(answer.tokens)
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish == "length"


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(model):
    prompt = model.encode_chat(PROMPT)
    whole = model.generate(prompt, Sampling(max_tokens=25, seed=1)).text
    stop = whole[10:13]
    cut = model.generate(prompt, Sampling(max_tokens=25, seed=1, stop=("never there", stop)))
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish == "stop"


def test_an_end_token_ends_the_answer(model):
    prompt, sampling = model.encode_chat(PROMPT), Sampling(max_tokens=10, seed=2)
    third = model.generate(prompt, sampling).tokens[2]
    model.module.generation_config.eos_token_id = [third]
    del model.end_tokens
    try:
        answer = model.generate(prompt, sampling)
    finally:
        model.module.generation_config.eos_token_id = 1
        del model.end_tokens
    assert answer.finish == "stop"
    assert answer.text == model.decode(answer.tokens[:-1])
    assert answer.tokens[-1] == third


def test_an_answer_ends_where_the_context_does(model):
    assert model.context_tokens == 512
    answer = model.generate([5] * 508, Sampling(max_tokens=50))
    assert len(answer.tokens) == 4
    assert answer.finish == "length"
    with pytest.raises(InvalidConfig, match="512 tokens, but the model holds 512"):
        model.generate([5] * 512, Sampling())
    with pytest.raises(InvalidConfig, match="empty"):
        model.generate([], Sampling())


def test_losses_of_rows_do_not_depend_on_their_neighbours(model):
    rows = [list(range(5, 5 + size)) for size in (2, 9, 30, 1, 4)]
    together = model.losses(rows, batch=5)
    assert [len(loss) for loss in together] == [1, 8, 29, 0, 3]
    for row, loss in zip(rows, together, strict=True):
        torch.testing.assert_close(loss, model.losses([row])[0], atol=1e-5, rtol=1e-5)


class TestDraw:
    logits = torch.log(torch.tensor([0.1, 0.5, 0.25, 0.15]))

    def share(self, **how) -> list[float]:
        random = torch.Generator().manual_seed(0)
        drawn = [draw(self.logits, Sampling(**how), random) for _ in range(1500)]
        return [drawn.count(token) / len(drawn) for token in range(4)]

    def test_tokens_come_as_often_as_they_are_likely(self):
        assert self.share() == pytest.approx([0.1, 0.5, 0.25, 0.15], abs=0.05)

    def test_top_p_keeps_the_fewest_that_have_the_mass(self):
        assert self.share(top_p=0.75) == pytest.approx([0, 2 / 3, 1 / 3, 0], abs=0.05)
        assert self.share(top_p=0.76)[3] > 0
        assert self.share(top_p=1e-9) == [0, 1, 0, 0]

    def test_top_k_keeps_as_many(self):
        assert self.share(top_k=3)[0] == 0.0

    def test_a_low_temperature_prefers_the_likeliest(self):
        # Squared and scaled to sum to one again.
        assert self.share(temperature=0.5)[1] == pytest.approx(0.25 / 0.345, abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"stop": ("a", "")},
    ],
)
def test_impossible_sampling_is_refused(wrong):
    with pytest.raises(InvalidConfig, match=next(iter(wrong))):
        Sampling(**wrong)


TOKENIZER = make_tokenizer()


@settings(max_examples=100)
@given(text=st.text(max_size=40))
def test_streamed_text_is_the_text_and_holds_no_half_characters(text):
    tokens = TOKENIZER.encode(text, add_special_tokens=False)
    speak = Detokeniser(TOKENIZER.decode)
    said = [speak.push(token) for token in tokens]
    assert "".join(said) + speak.rest() == TOKENIZER.decode(tokens)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in part for part in said)


@settings(max_examples=200)
@given(
    text=st.text(alphabet="ab", max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=6),
    stop=st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=2),
)
def test_stops_are_found_however_the_text_is_cut(text, cuts, stop):
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    watch, shown, stopped = StopWatch(stop), "", False
    parts = [text[a:b] for a, b in itertools.pairwise(places)] or [""]
    for number, part in enumerate(parts):
        seen, stopped = watch.push(part, last=number + 1 == len(parts))
        shown += seen
        if stopped:
            break
    found = [place for one in stop if (place := text.find(one)) >= 0]
    assert stopped == bool(found)
    if not found:
        assert shown == text
    else:
        # What is shown ends right before some stop text, and holds none.
        assert any(text.startswith(shown + one) for one in stop)
        assert not any(one in shown for one in stop)
