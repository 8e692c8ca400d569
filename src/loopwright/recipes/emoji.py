"""Painting and naming emoji as loops: generation is an attempt, and it is told if it is right.

``emoji-tiny`` remembers 250 animals and dishes of 16 px in a few CPU-minutes; ``emoji`` paints all
of one style at 32 px, unseen skin tones and genders included, and wants a workstation or a GPU.
``emoji-caption-tiny`` and ``emoji-caption`` are the same models, asked for the name of a picture.
"""

from __future__ import annotations

from dataclasses import replace

from loopwright.core.digest import Json
from loopwright.loop.config import CorpusPlan, Learner, LoopConfig, RoundPlan
from loopwright.loop.gate import GateConfig
from loopwright.scenarios.emoji.items import TINY_GROUPS

_LEARN = "loopwright.train.wudao:learn"
_PAIRS = "loopwright.scenarios.emoji.pairs:build_pairs"

TINY: dict[str, Json] = {
    "pictures": {"px": 16, "width": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 2},
    "width": 96,
    "heads": 3,
    "layers": 3,
    "hidden": 256,
    "mixture": {"experts": 4, "chosen": 2, "hidden": 96, "bias_rate": 0.01},
    "words": 600,
    # The precision of the machine would make another candidate on another one.
    "precision": "float32",
}
"""A sparse model of 0.7 million parameters over pictures of 16 codes."""


def tiny_learner(*, picture_steps: int, steps: int) -> Learner:
    """Train the tiny model on the animals and dishes that may be learned from."""
    pairs: dict[str, Json] = {"px": 16, "styles": ["twemoji"], "groups": list(TINY_GROUPS)}
    return Learner(
        entry=_LEARN,
        corpora=(CorpusPlan(entry=_PAIRS, config=pairs),),
        config={**TINY, "picture_steps": picture_steps, "steps": steps},
    )


def learner(**changes: Json) -> Learner:
    """Train the laptop model on all that may be learned from, with changes if asked."""
    pairs: dict[str, Json] = {"px": 32, "styles": ["twemoji"]}
    return Learner(entry=_LEARN, corpora=(CorpusPlan(entry=_PAIRS, config=pairs),), config=changes)


def emoji_tiny() -> LoopConfig:
    """A painter of few steps, a worthless one, one of more steps, one that also knows its own."""
    longer = tiny_learner(picture_steps=700, steps=260)
    return LoopConfig(
        name="emoji-tiny",
        scenario="emoji-paint-tiny-v1",
        certificate=None,  # paintings: there is no robot
        genesis=RoundPlan(
            label="170 steps on 251 emoji with their names",
            learner=tiny_learner(picture_steps=700, steps=170),
        ),
        rounds=(
            RoundPlan(
                label="an untrained network (planted)",
                learner=tiny_learner(picture_steps=1, steps=1),
                planted=True,
            ),
            RoundPlan(label="260 steps on the same", learner=longer),
            RoundPlan(
                label="260 steps, its own verified paintings too",
                learner=longer,
                own_successes=True,
            ),
        ),
        gate=GateConfig(max_pairs=60),
        operate_episodes=40,
        sealed_episodes=100,
        film_px=256,
    )


def emoji() -> LoopConfig:
    """The same at 32 px on every emoji of a style: about two CPU-hours, or minutes on a GPU."""
    tiny = emoji_tiny()
    short = learner(device="auto", picture_steps=1300, steps=800)
    whole = learner(device="auto", picture_steps=1300, steps=2600)
    return replace(
        tiny,
        name="emoji",
        scenario="emoji-paint-v1",
        genesis=RoundPlan(label="800 steps on 3,222 emoji with their names", learner=short),
        rounds=(
            RoundPlan(
                label="an untrained network (planted)",
                learner=learner(device="auto", picture_steps=1, steps=1),
                planted=True,
            ),
            RoundPlan(label="2,600 steps on the same", learner=whole),
            RoundPlan(
                label="2,600 steps, its own verified paintings too",
                learner=whole,
                own_successes=True,
            ),
        ),
        gate=GateConfig(max_pairs=200),
        operate_episodes=200,
        sealed_episodes=300,
    )


def emoji_caption_tiny() -> LoopConfig:
    """The models of ``emoji-tiny``, judged by what they call the pictures."""
    return _naming(emoji_tiny(), "emoji-caption-tiny")


def emoji_caption() -> LoopConfig:
    """The models of ``emoji``, judged by what they call the pictures."""
    return _naming(emoji(), "emoji-caption")


def _naming(painting: LoopConfig, name: str) -> LoopConfig:
    """Return a loop with the same models, without the round that learns from what it made.

    A name that was found right is the one in the corpus: there is nothing new to learn from it.
    """
    rounds = tuple(plan for plan in painting.rounds if not plan.own_successes)
    return replace(painting, name=name, scenario=f"{name}-v1", rounds=rounds)
