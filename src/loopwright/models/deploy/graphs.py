"""Models cut into the functions that run elsewhere, each with what it is checked on.

ONNX has no product of sorted groups, so a mixture computes all its experts for every token and
weighs those that were not chosen with nothing: the same result for more arithmetic.

Shapes: B batch, T tokens, N codes of a picture or tokens of a batch, H and W pixels, E experts, C
chosen ones, D width, F hidden width, P proprioception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.models.language import LanguageModel, Sampling
from loopwright.models.layers.mixture import MixtureOfExperts
from loopwright.models.layers.packed import PackedExperts, PackedLinear
from loopwright.models.wam.sample import WamPolicy
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sample import Painting, Prompt, TextPictureModel
from loopwright.models.wudao.sequences import paint_prompt

Inputs = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """One function of a model, to be written as one file."""

    name: str
    """Added to the name of the file; empty where there is only one."""
    module: nn.Module
    outputs: tuple[str, ...]
    checks: tuple[Inputs, ...]
    """Inputs to compare on, of several shapes; the first is what is traced."""
    expected: tuple[tuple[Tensor, ...], ...]
    """What the original says to each of them, computed before anything is put in another form."""
    moving: Mapping[str, tuple[str, ...]]
    """Input to the names of its leading dimensions whose size may change."""
    notes: tuple[str, ...] = ()
    """What a user must know about it."""


def language_graphs(model: LanguageModel, *, seed: int = 0) -> list[Graph]:
    """Return the one function of a language model: tokens to what follows each of them."""
    _refuse_packed(model.module)
    random = torch.Generator().manual_seed(seed)
    places = int(model.module.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    written = [
        list(model.generate([first], Sampling(max_tokens=24, seed=first)).tokens)
        for first in torch.randint(places, (2,), generator=random).tolist()
    ]
    shortest = max(2, min(map(len, written)))
    real = torch.tensor([(row * shortest)[:shortest] for row in written])
    checks = (
        {"tokens": torch.randint(places, (2, 7), generator=random)},
        {"tokens": torch.randint(places, (3, 40), generator=random)},
        {"tokens": real},
    )
    scores = _Scores(model.module)
    expected = _said(scores, checks)
    notes = ["without a cache: every step reads all tokens again"]
    if _has_experts(model.module):
        # The usual implementation counts tokens, which no graph of fixed operations can.
        model.module.set_experts_implementation("batched_mm")
        notes.append("experts by the weights of the chosen ones, gathered for each token")
    return [
        Graph(
            name="",
            module=scores,
            outputs=("logits",),
            checks=checks,
            expected=expected,
            moving={"tokens": ("batch", "length")},
            notes=tuple(notes),
        )
    ]


def text_picture_graphs(model: TextPictureModel, *, seed: int = 0) -> list[Graph]:
    """Return encoder and decoder of pictures, and the step that goes on with a sequence."""
    _refuse_packed(model.model)
    px, count = model.pictures.config.px, model.pictures.config.tokens
    random = torch.Generator().manual_seed(seed)
    style = next((tag for tag in model.words.tags() if len(tag) > 3), model.words.tags()[0])
    how = Painting(temperature=1.0, guidance=1.0)
    painted = model.paint([Prompt("", style=style)] * 2, seed=seed, how=how)
    codes = torch.from_numpy(model.encode(painted))
    noise = torch.randint(256, (3, px, px, 3), generator=random).to(torch.uint8)
    chance = torch.randint(model.pictures.config.codes, (3, count), generator=random)
    begun = paint_prompt([], language=0, style=model.words.tag(style))
    sequences = (
        _sequence(begun, chance[:, :5] + model.words.size),
        _sequence(begun, codes + model.words.size),
    )
    encoder, decoder = _Encoder(model.pictures), _Decoder(model.pictures)
    pictures = ({"image": noise}, {"image": torch.from_numpy(painted)})
    drawings = ({"codes": chance}, {"codes": codes})
    notes = ["without a cache: every step reads all tokens again"]
    if _has_experts(model.model):
        notes.append("all experts for every token: more arithmetic than that of the chosen ones")
    return [
        Graph(
            name="encoder",
            module=encoder,
            outputs=("codes",),
            checks=pictures,
            expected=_said(encoder, pictures),
            moving={"image": ("batch",)},
        ),
        Graph(
            name="decoder",
            module=decoder,
            outputs=("image",),
            checks=drawings,
            expected=_said(decoder, drawings),
            moving={"codes": ("batch",)},
        ),
        Graph(
            name="step",
            module=_Step(_without_groups(model.model)),
            outputs=("codes", "words"),
            checks=sequences,
            expected=_said(_Step(model.model), sequences),
            moving={"tokens": ("batch", "length"), "places": ("batch", "length")},
            notes=tuple(notes),
        ),
    ]


def policy_graphs(policy: WamPolicy, *, seed: int = 0) -> list[Graph]:
    """Return the one function of a world action model that acts: what is seen to a chunk."""
    config = policy.model.config
    random = torch.Generator().manual_seed(seed)

    def seen(batch: int) -> Inputs:
        side = config.image_px
        image = torch.randint(256, (batch, side, side, 3), generator=random).to(torch.uint8)
        known = torch.arange(batch) % 2 == 0 if policy.use_proprio else torch.zeros(batch).bool()
        return {
            "image": image,
            "proprio": torch.randn(batch, config.proprio_size, generator=random),
            "known": known,
            "task": torch.arange(batch) % len(config.tasks),
        }

    smooth = {**seen(4)}
    # A picture, unlike noise, has plain areas.
    ramp = torch.linspace(0, 255, config.image_px)
    smooth["image"] = ramp[None, :, None, None].expand_as(smooth["image"]).to(torch.uint8)
    acting, checks = _Acting(policy), (seen(3), seen(1), smooth)
    return [
        Graph(
            name="",
            module=acting,
            outputs=("actions",),
            checks=checks,
            expected=_said(acting, checks),
            moving={name: ("batch",) for name in smooth},
            notes=(f"tasks by number: {', '.join(map(repr, config.tasks))}",),
        )
    ]


@torch.no_grad()
def _said(module: nn.Module, checks: Sequence[Inputs]) -> tuple[tuple[Tensor, ...], ...]:
    outputs = [module.eval()(**inputs) for inputs in checks]
    return tuple(o if isinstance(o, tuple) else (o,) for o in outputs)


class _Scores(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor) -> Tensor:
        return self.module(input_ids=tokens, use_cache=False).logits.float()


class _Encoder(nn.Module):
    def __init__(self, pictures: PictureTokenizer) -> None:
        super().__init__()
        self.pictures = pictures

    def forward(self, image: Tensor) -> Tensor:
        return self.pictures.encode(image)


class _Decoder(nn.Module):
    def __init__(self, pictures: PictureTokenizer) -> None:
        super().__init__()
        self.pictures = pictures

    def forward(self, codes: Tensor) -> Tensor:
        return self.pictures.decode(codes)


class _Step(nn.Module):
    """What may follow a sequence: scores of codes and of words."""

    def __init__(self, model: Wudao) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        x_BD = self.model.contextual(tokens, places)[:, -1]
        return self.model.codes(x_BD), self.model.words(x_BD)


class _Acting(nn.Module):
    def __init__(self, policy: WamPolicy) -> None:
        super().__init__()
        self.model = policy.model

    def forward(self, image: Tensor, proprio: Tensor, known: Tensor, task: Tensor) -> Tensor:
        _, chunk_BKA = self.model.act(self.model.see(image, proprio, known, task))
        return self.model.actions.decode(chunk_BKA)


class _AllExperts(nn.Module):
    """A mixture without sorting: every expert for every token."""

    def __init__(self, mixture: MixtureOfExperts) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        routing = self.mixture.router(x_ND)
        experts = self.mixture.experts
        weight_NE = torch.zeros_like(routing.affinity_NE)
        weight_NE = weight_NE.scatter(1, routing.expert_NC, routing.weight_NC)
        inner_EN2F = x_ND[None] @ experts.gate_value_E2FD.transpose(1, 2)
        gate, value = inner_EN2F.chunk(2, dim=-1)
        done_END = (F.silu(gate) * value) @ experts.out_EDF.transpose(1, 2)
        mixed_ND = (done_END * weight_NE.t()[..., None]).sum(dim=0)
        if self.mixture.shared is not None:
            mixed_ND = mixed_ND + self.mixture.shared(x_ND)
        return mixed_ND.unflatten(0, x_BTD.shape[:2])


def _without_groups(model: Wudao) -> Wudao:
    """Return a model that shares the weights and computes its experts plainly."""
    import copy

    shared = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    plain = copy.deepcopy(model, shared)
    for block in plain.backbone.blocks:
        feedforward = getattr(block, "feedforward", None)
        if isinstance(feedforward, MixtureOfExperts):
            feedforward.routing = None
            block.feedforward = _AllExperts(feedforward)
    return plain


def _sequence(begun: list[int], codes_BN: Tensor) -> Inputs:
    before = torch.tensor(begun).expand(len(codes_BN), -1)
    places = torch.arange(1, codes_BN.shape[1] + 1).expand_as(codes_BN)
    return {
        "tokens": torch.cat([before, codes_BN], dim=1),
        "places": torch.cat([torch.zeros_like(before), places], dim=1),
    }


def _has_experts(module: nn.Module) -> bool:
    return any(type(m).__name__.endswith("Experts") for m in module.modules())


def _refuse_packed(module: nn.Module) -> None:
    if any(isinstance(m, (PackedLinear, PackedExperts)) for m in module.modules()):
        raise InvalidConfig(
            "the weights are packed in 8 or 4 bits, for which ONNX is not written; export the "
            "model it was made from"
        )
