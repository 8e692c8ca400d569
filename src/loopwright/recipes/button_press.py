"""The default recipe: press a button, from five demonstrations and eighty videos without actions.

The demonstrations start in the lowest 40 % of the button's range, the videos show a recoloured
arm over all of it. What the robot's own labels do not cover, watching has to teach.
"""

from __future__ import annotations

from dataclasses import replace

from loopwright.core.digest import Json
from loopwright.core.scenario import Box, Request
from loopwright.loop.config import CertificateConfig, Learner, LoopConfig, RoundPlan, SeekConfig
from loopwright.loop.gate import GateConfig
from loopwright.scenarios.registry import get_scenario

_SCENARIO = "button-press-v1"
_ENTRY = "loopwright.train.learners:wam"

# Train-split offsets of the planned requests, so that no two share a start.
_DEMO_FIRST, _PLAY_FIRST, _VIDEO_FIRST = 0, 1_000_000, 2_000_000


def cloning(**changes: Json) -> Learner:
    """Plain behaviour cloning: the world action model with everything else switched off."""
    config = {"use_video": False, "use_idm": False, "use_forward": False, **changes}
    return Learner(entry=_ENTRY, config=config)


def world_action_model(**changes: Json) -> Learner:
    """The whole model: motion read off video, policy, imagined future."""
    return Learner(entry=_ENTRY, config=changes)


def covered(domain: Box) -> Box:
    """Return the part of the domain that the demonstrations cover: the lowest 40 % of x."""
    return domain.portion("object_x_m", 0.0, 0.4)


def button_press() -> LoopConfig:
    """Clone five demonstrations, refuse a worthless challenger, watch videos, then practise."""
    domain = get_scenario(_SCENARIO).domain
    return LoopConfig(
        name="button-press",
        scenario=_SCENARIO,
        certificate=CertificateConfig(level="D", demo_keys=True),
        genesis=RoundPlan(
            label="clone 5 demonstrations",
            learner=cloning(),
            requests=(
                Request(kind="demo", count=5, box=covered(domain), first=_DEMO_FIRST),
                Request(kind="play", count=40, first=_PLAY_FIRST),
            ),
        ),
        rounds=(
            RoundPlan(
                label="an untrained network (planted)",
                learner=cloning(policy_steps=1),
                planted=True,
            ),
            RoundPlan(
                label="watch 80 videos of a recoloured arm",
                learner=world_action_model(),
                requests=(Request(kind="video", count=80, body="recoloured", first=_VIDEO_FIRST),),
            ),
            RoundPlan(
                label="learn from its own successes",
                learner=world_action_model(),
                own_successes=True,
                seek=SeekConfig(videos=20, body="recoloured"),
            ),
        ),
        gate=GateConfig(max_pairs=60),
        operate_episodes=20,
        sealed_episodes=50,
    )


def button_press_long() -> LoopConfig:
    """Six rounds that look for data where the champion fails: video first, labels last."""
    short = button_press()
    seeking = RoundPlan(
        label="own successes, and data where it fails",
        learner=world_action_model(),
        own_successes=True,
        seek=SeekConfig(videos=20, body="recoloured"),
    )
    watching = replace(
        short.rounds[1],
        label="watch 20 videos of a recoloured arm",
        requests=(Request(kind="video", count=20, body="recoloured", first=_VIDEO_FIRST),),
    )
    return replace(
        short, name="button-press-long", rounds=(short.rounds[0], watching, *(seeking,) * 4)
    )
