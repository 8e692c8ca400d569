from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.check import check_model
from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.loss import SequenceWeights, picture_loss, sequence_loss
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import PictureTokenizer, patches, unpatched
from loopwright.models.wudao.sample import (
    FAMILY,
    WEIGHTS,
    Painting,
    Prompt,
    TextPictureModel,
    _chances,
    _drawn,
)
from loopwright.models.wudao.sequences import Counts, Pair, batch, paint, write
from loopwright.models.wudao.words import BEGIN, END, PAD, PICTURE, Words

PICTURES = PictureConfig(
    px=16, width=32, heads=2, encoder_layers=1, decoder_layers=1, levels=(4, 3, 3)
)
TEXTS = ("red heart", "blue heart", "green apple: cut", "Étoile", "笑脸")


def words() -> Words:
    return Words.learn(TEXTS, tags=["en", "zh", "twemoji"], size=200)


def config(size: int) -> WudaoConfig:
    return WudaoConfig(
        pictures=PICTURES,
        backbone=TransformerConfig(
            width=32,
            layers=2,
            heads=2,
            key_heads=2,
            hidden=48,
            causal=True,
            mixture=MixtureConfig(experts=3, chosen=2, hidden=24),
        ),
        texts=size,
    )


def joined() -> TextPictureModel:
    torch.manual_seed(0)
    known = words()
    model = Wudao(config(known.size))
    # Heads start at zero; a sampler needs something to choose by.
    torch.nn.init.normal_(model.word_head.weight)
    torch.nn.init.normal_(model.code_head.digit_LD)
    return TextPictureModel(model, PictureTokenizer(PICTURES), known)


def some_pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_a_mark_in_a_text_is_text():
    known = words()
    assert {PAD, BEGIN, PICTURE, END}.isdisjoint(known.encode("red <end> heart <picture> <pad>"))
    assert known.tag("en") not in known.encode("<en> heart")


class TestPictures:
    def test_patches_are_cut_and_joined_again(self):
        image = torch.arange(2 * 8 * 8 * 3).view(2, 8, 8, 3)
        cut = patches(image, 4)
        assert torch.equal(cut[0, 1].view(4, 4, 3), image[0, :4, 4:])
        assert torch.equal(unpatched(cut, 4), image)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 4 * 3 * 3 - 1))
    def test_a_code_names_its_digits(self, code: int):
        tokenizer = PictureTokenizer(PICTURES)
        digits = tokenizer.digits_of(torch.tensor([[code]]))[0, 0]
        levels = torch.tensor(PICTURES.levels)
        index = ((digits + 1) / 2 * (levels - 1)).round().long()
        assert int(index[0] + 4 * index[1] + 12 * index[2]) == code

    def test_a_picture_comes_back_as_its_codes_say(self):
        torch.manual_seed(0)
        tokenizer = PictureTokenizer(PICTURES)
        image = torch.from_numpy(some_pictures(3))
        with torch.no_grad():
            through = tokenizer(image)
            by_codes = tokenizer.decode(tokenizer.encode(image))
        expected = ((through + 1) * 127.5).round().clamp(0, 255).byte()
        # The straight-through sum rounds in the last bit.
        assert (expected.int() - by_codes.int()).abs().max() <= 1

    def test_every_level_of_every_digit_is_reached(self):
        torch.manual_seed(0)
        tokenizer = PictureTokenizer(PICTURES)
        torch.nn.init.normal_(tokenizer.digits.weight)
        with torch.no_grad():
            codes = tokenizer.encode(torch.from_numpy(some_pictures(200)))
        digits = tokenizer.digits_of(codes).flatten(0, 1)
        for number, levels in enumerate(PICTURES.levels):
            found = digits[:, number].unique()
            torch.testing.assert_close(found, torch.linspace(-1, 1, levels))

    def test_a_patch_seen_by_itself_has_one_code_wherever_it_stands(self):
        torch.manual_seed(0)
        tokenizer = PictureTokenizer(replace(PICTURES, encoder_sees="patch"))
        torch.nn.init.normal_(tokenizer.digits.weight)
        image = torch.from_numpy(some_pictures(1))
        cut = patches(image, PICTURES.patch_px)
        order = torch.randperm(cut.shape[1])
        with torch.no_grad():
            codes = tokenizer.encode(image)
            moved = tokenizer.encode(unpatched(cut[:, order], PICTURES.patch_px))
        assert len(codes.unique()) > 3
        assert torch.equal(moved, codes[:, order])

    def test_the_loss_reaches_the_encoder_through_the_rounding(self):
        torch.manual_seed(0)
        check_model(
            lambda: PictureTokenizer(PICTURES),
            lambda m: {"image": m(torch.from_numpy(some_pictures(8)))},
            shapes={"image": (8, 16, 16, 3)},
        )
        loss, parts = picture_loss(PictureTokenizer(PICTURES), torch.from_numpy(some_pictures(2)))
        assert loss > 0
        assert set(parts) == {"squared", "absolute", "edges"}


class TestWords:
    def test_texts_come_back_in_lower_case(self):
        known = words()
        assert [known.decode(known.encode(text)) for text in TEXTS] == [t.lower() for t in TEXTS]

    def test_a_language_never_shown_is_refused_with_those_that_were(self):
        with pytest.raises(UnknownName, match="twemoji"):
            words().tag("fr")

    def test_unknown_letters_do_not_fail(self):
        assert isinstance(words().decode(words().encode("красный")), str)


class TestSequences:
    def test_both_orders_frame_the_same_pair(self):
        pair = Pair([50, 51], np.arange(16), 6, 7)
        painted, first = paint(pair, 100)
        assert painted == [BEGIN, 7, 6, 50, 51, PICTURE, *range(100, 116), END]
        assert painted[first] == 100
        written, first = write(pair, 100)
        assert written == [BEGIN, PICTURE, *range(100, 116), 6, 50, 51, END]
        assert written[first] == 100
        assert paint(pair, 100, drop_text=True)[0][:3] == [BEGIN, 7, PICTURE]

    def test_a_batch_marks_the_places_of_codes_and_fills_up(self):
        short, long = Pair([50], np.arange(16), 6, 7), Pair([50, 51, 52], np.arange(16), 6, 7)
        found = batch([paint(short, 100), write(long, 100)], [True, False], codes=16)
        assert found.token_BT.shape == (2, 23)
        assert found.token_BT[0, -1] == PAD
        for tokens, places in zip(found.token_BT, found.place_BT, strict=True):
            assert torch.equal(tokens[places > 0], torch.arange(100, 116))
            assert torch.equal(places[places > 0], torch.arange(1, 17))

    def test_no_token_sees_what_it_must_predict(self):
        model = joined().model
        pair = Pair([20, 21], np.arange(16), 6, 7)
        found = batch([paint(pair, model.config.texts)], [True], codes=16)
        changed = found.token_BT.clone()
        changed[0, 12:] = model.config.texts + 3
        with torch.no_grad():
            before = model.contextual(found.token_BT, found.place_BT)
            after = model.contextual(changed, found.place_BT)
        torch.testing.assert_close(before[:, :12], after[:, :12])


def test_the_losses_of_portions_average_to_the_loss_of_the_step():
    model = joined().model
    known = words()
    random = np.random.default_rng(0)
    pairs = [Pair(known.encode(t), random.integers(36, size=16), 6, 7) for t in TEXTS[:4]]
    paints = [True, False, True, True]
    framed = [
        (paint if painting else write)(p, known.size)
        for p, painting in zip(pairs, paints, strict=True)
    ]
    counts = Counts.of(framed, paints, codes=16).over(2)
    with torch.no_grad():
        whole, _ = sequence_loss(model, batch(framed, paints, codes=16), SequenceWeights())
        halves = [
            sequence_loss(
                model,
                batch(framed[part], paints[part], codes=16, counts=counts),
                SequenceWeights(),
            )[0]
            for part in (slice(0, 2), slice(2, 4))
        ]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)


def test_an_untrained_model_is_as_unsure_as_chance():
    known = words()
    torch.manual_seed(0)
    model = Wudao(config(known.size))
    random = np.random.default_rng(0)
    pairs = [Pair(known.encode(t), random.integers(36, size=16), 6, 7) for t in TEXTS]
    framed = [paint(pairs[0], known.size), write(pairs[1], known.size)]
    _, parts = sequence_loss(model, batch(framed, [True, False], codes=16), SequenceWeights())
    assert float(parts["painted"]) == pytest.approx(np.log(36), rel=1e-3)
    assert float(parts["written"]) == pytest.approx(np.log(known.size), rel=1e-3)


def test_the_model_learns_which_picture_a_text_means():
    known = words()
    torch.manual_seed(0)
    model = TextPictureModel(Wudao(config(known.size)), PictureTokenizer(PICTURES), known)
    codes = np.random.default_rng(0).integers(36, size=(3, 16))
    prompts = [Prompt(text) for text in TEXTS[:3]]
    pairs = list(model._pairs(prompts, codes))
    framed = [make(p, known.size) for p in pairs for make in (paint, write)]
    both = batch(framed, [True, False] * 3, codes=16)
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=1e-2)
    model.model.train()
    for _ in range(60):
        loss, _ = sequence_loss(model.model, both, SequenceWeights())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.model.eval()
    greedy = Painting(temperature=0, guidance=1)
    with torch.no_grad():
        painted = model._paint_codes(prompts, greedy, torch.zeros(codes.shape))
        assert np.array_equal(painted, codes)
        assert model._write(codes, "en") == [p.text for p in prompts]
    own = model.code_nats(prompts, codes)
    other = model.code_nats(prompts, codes[[1, 2, 0]])
    assert (own < 0.5).all()
    assert (other > own + 0.3).all()
    assert (model.text_nats(prompts, codes) < 0.5).all()


def test_a_mark_that_someone_spells_out_is_text(tmp_path):
    words = joined().words
    words.save(tmp_path)
    for each in (words, Words.load(tmp_path)):
        marks = {BEGIN, PICTURE, END, PAD, *map(each.tag, each.tags())}
        for text in ("red <end> heart", "<twemoji><begin> <picture>", "<EN> <pad>"):
            assert not marks & set(each.encode(text))
        assert each.encode("red heart") == words.encode("red heart")
    assert words.digest == Words.load(tmp_path).digest


class TestPainting:
    def test_the_same_seed_gives_the_same_pictures(self):
        model = joined()
        prompts = [Prompt("red heart"), Prompt("green apple: cut")]
        how = Painting(temperature=1.0)
        first = model.paint(prompts, seed=1, how=how)
        assert first.shape == (2, 16, 16, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, model.paint(prompts, seed=1, how=how))
        assert not np.array_equal(first, model.paint(prompts, seed=2, how=how))

    @pytest.mark.parametrize("tries", [1, 2])
    def test_a_picture_is_the_same_whatever_else_is_painted(self, tries):
        model, how = joined(), Painting(temperature=9.0)
        prompts = [Prompt("red heart"), Prompt("green apple: cut"), Prompt("blue heart")]
        alone = [model.paint([each], seed=1, how=how, tries=tries)[0] for each in prompts]
        for order in ([0, 1, 2], [2, 0, 1]):
            chosen = [prompts[number] for number in order]
            together = model.paint(chosen, seed=1, how=how, tries=tries)
            assert np.array_equal(together, np.stack([alone[number] for number in order]))

    def test_a_prompt_that_comes_again_is_painted_differently(self):
        twice = joined().paint([Prompt("red heart")] * 2, seed=1, how=Painting(temperature=9.0))
        assert not np.array_equal(*twice)

    def test_codes_are_drawn_as_often_as_the_model_believes(self):
        score_BC = torch.tensor([[2.0, 1.0, 0.5, -9.0]]).expand(20_000, -1)
        chance_B = torch.from_numpy(np.random.default_rng(0).random(len(score_BC)))
        how = Painting(temperature=0.5, likeliest=3)
        share_C = _drawn(score_BC, how, chance_B).bincount(minlength=4) / len(score_BC)
        believed_C = torch.cat([(score_BC[0, :3] / 0.5).softmax(dim=0), torch.zeros(1)])
        torch.testing.assert_close(share_C, believed_C, atol=0.01, rtol=0)

    def test_of_several_tries_the_one_that_says_the_text_best_is_kept(self):
        model = joined()
        prompts = [Prompt("red heart")]
        how = Painting(temperature=9.0)
        with torch.no_grad():
            drawn = [
                model._paint_codes(prompts, how, _chances(prompts, 16, 5, number))
                for number in range(4)
            ]
            assert len(np.unique(np.concatenate(drawn), axis=0)) == 4
            best = min(drawn, key=lambda code: model.text_nats(prompts, code)[0])
        kept = model.paint(prompts, seed=5, how=how, tries=4)
        assert np.array_equal(kept, model.decode(best))

    def test_a_language_never_shown_is_refused(self):
        with pytest.raises(UnknownName, match="language"):
            joined().paint([Prompt("rotes Herz", language="de")], seed=0)

    @pytest.mark.parametrize(
        "how", [{"temperature": -1}, {"temperature": math.nan}, {"guidance": math.nan}]
    )
    def test_what_cannot_be_drawn_by_is_refused(self, how):
        (value,) = how.values()
        with pytest.raises(InvalidConfig, match=str(value)):
            Painting(**how)


class TestWriting:
    @pytest.mark.parametrize(
        "pictures",
        [
            np.zeros((2, 32, 32, 3), dtype=np.uint8),
            np.zeros((2, 16, 16, 3)),
            np.zeros((16, 16, 3), dtype=np.uint8),
        ],
        ids=["another side", "floats", "one alone"],
    )
    def test_other_pictures_than_the_model_looks_at_are_refused(self, pictures):
        with pytest.raises(InvalidConfig, match=r"looks at uint8 of the shape \(any, 16, 16, 3\)"):
            joined().write(pictures)

    def test_of_no_pictures_there_is_nothing_to_say(self):
        assert joined().write(some_pictures(0)) == []
        assert joined().encode(some_pictures(0)).shape == (0, 16)


class TestCandidate:
    def saved(self, folder) -> TextPictureModel:
        model = joined()
        folder.mkdir()
        model.save(folder)
        Candidate.seal(
            folder, family=FAMILY, interface=NO_BODY, config=model.model.config.to_json()
        )
        return model

    def test_it_comes_back_as_it_was(self, tmp_path):
        model = self.saved(tmp_path / "c")
        loaded = TextPictureModel.load(tmp_path / "c")
        assert json.loads(json.dumps(model.model.config.to_json())) == json.loads(
            json.dumps(loaded.model.config.to_json())
        )
        prompts = [Prompt("blue heart")]
        assert np.array_equal(model.paint(prompts, seed=0), loaded.paint(prompts, seed=0))
        pictures = some_pictures(2)
        assert model.write(pictures) == loaded.write(pictures)

    @pytest.mark.parametrize("name", [WEIGHTS, "words.json"])
    def test_a_damaged_file_is_named(self, tmp_path, name: str):
        self.saved(tmp_path / "c")
        path = tmp_path / "c" / name
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DamagedData, match=name):
            TextPictureModel.load(tmp_path / "c")

    def test_weights_of_another_size_are_refused(self, tmp_path):
        model = self.saved(tmp_path / "c")
        other = {**model.model.config.to_json(), "texts": model.words.size + 1}
        Candidate.seal(tmp_path / "c", family=FAMILY, interface=NO_BODY, config=other)
        with pytest.raises(DamagedData, match="does not hold this model"):
            TextPictureModel.load(tmp_path / "c")
