"""Packed documents are computed as if each were alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.models.language import LanguageModel
from loopwright.train.finetune.documents import Document
from loopwright.train.finetune.nats import nats_of
from loopwright.train.finetune.packing import Order, fill_rows, require_isolation
from tiny_language import make_network, make_tokenizer

CPU = torch.device("cpu")


def make_documents(count: int, *, longest: int = 24, seed: int = 0) -> list[Document]:
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        size = int(random.integers(3, longest + 1))
        learned = random.random(size) < 0.5
        learned[0], learned[-1] = False, True
        tokens = random.integers(3, 384, size)
        documents.append(Document(tokens=tuple(tokens.tolist()), learned=tuple(learned.tolist())))
    return documents


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "qwen3_moe"])
def test_packed_losses_are_the_losses_apart(architecture):
    network = make_network(architecture).eval()
    documents = make_documents(9)
    packed, apart = (fill_rows(documents, 64, packed=packed) for packed in (True, False))
    assert len(packed) < len(apart) == 9
    with torch.no_grad():
        sums = [
            nats_of(network, rows.pick(range(len(rows)), CPU)).nats_RK for rows in (packed, apart)
        ]
    torch.testing.assert_close(sums[0].sum(), sums[1].sum(), atol=1e-3, rtol=1e-6)
    # And one by one: in row and place they differ, as a set they do not.
    each = [np.sort(values[values > 0].numpy()) for values in sums]
    np.testing.assert_allclose(each[0], each[1], atol=1e-5)


def test_gradients_of_packed_documents_are_those_apart():
    documents = make_documents(6)
    gradients = []
    for packed in (True, False):
        network = make_network()
        rows = fill_rows(documents, 64, packed=packed)
        nats_of(network, rows.pick(range(len(rows)), CPU)).nats_RK.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_selected_scores_are_those_of_all():
    network = make_network().eval()
    rows = fill_rows(make_documents(5), 64, packed=False).pick(range(5), CPU)
    with torch.no_grad():
        found = nats_of(network, rows)
        logits = network(input_ids=rows.token_RT).logits
    every = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), rows.token_RT[:, 1:], reduction="none"
    )
    torch.testing.assert_close(found.nats_RK.sum(), every[rows.learned_RT[:, 1:]].sum())


def test_an_architecture_that_looks_across_is_refused():
    class Leaky(type(make_network())):
        def forward(self, position_ids=None, **inputs):
            return super().forward(**inputs)

    network = make_network()
    network.__class__ = Leaky
    rows = fill_rows(make_documents(6), 64, packed=True)
    with pytest.raises(InvalidConfig, match="Leaky lets documents of one row see each other"):
        require_isolation(LanguageModel(network.eval(), make_tokenizer(), digest=""), rows)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40))
def test_every_document_lies_in_one_row_that_is_not_too_long(seed, count):
    documents = make_documents(count, seed=seed)
    rows = fill_rows(documents, 32, packed=True)
    assert rows.token_RT.shape[1] <= 32
    found = []
    for tokens, positions in zip(rows.token_RT.tolist(), rows.position_RT.tolist(), strict=True):
        starts = [i for i, position in enumerate(positions) if position == 0] + [len(tokens)]
        runs = [tuple(tokens[a:b]) for a, b in itertools.pairwise(starts)]
        found += [run for run in runs if any(run)]
    assert sorted(found) == sorted(document.tokens for document in documents)
    assert rows.learned_RT.sum() == sum(document.num_learned for document in documents)


@settings(max_examples=60)
@given(rows=st.integers(1, 30), batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_epoch_shows_every_row_once(rows, batch, seed):
    order = Order(rows=rows, batch=batch, seed=seed)
    steps = -(-3 * rows // batch)
    shown = np.concatenate([order.at(step) for step in range(steps)])[: 3 * rows]
    for epoch in shown.reshape(3, rows):
        assert sorted(epoch.tolist()) == list(range(rows))
