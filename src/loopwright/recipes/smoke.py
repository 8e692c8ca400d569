"""The smallest whole loop: a point, a line, a few seconds. Proves that an installation turns."""

from __future__ import annotations

from dataclasses import replace

from loopwright.core.scenario import Request
from loopwright.loop.config import CertificateConfig, Learner, LoopConfig, RoundPlan, SeekConfig
from loopwright.loop.gate import GateConfig

_ENTRY = "loopwright.train.linear:learn"
_BLIND = Learner(entry=_ENTRY, config={"blind_to": ["goal_x_m", "goal_y_m"]})
_SEEING = Learner(entry=_ENTRY)
_STANDING = Learner(entry=_ENTRY, config={"ridge": 1e9})


def smoke() -> LoopConfig:
    """A blind first champion, a worthless challenger, then one that sees the goal."""
    return LoopConfig(
        name="smoke",
        scenario="point-reach-v1",
        certificate=None,  # a point: nothing that could hurt anybody
        genesis=RoundPlan(
            label="a line that cannot see the goal",
            learner=_BLIND,
            requests=(
                Request(kind="demo", count=20),
                Request(kind="play", count=5, first=1_000_000),
            ),
        ),
        rounds=(
            RoundPlan(label="worthless, planted", learner=_STANDING, planted=True),
            RoundPlan(
                label="a line that sees the goal",
                learner=_SEEING,
                requests=(Request(kind="video", count=5, first=2_000_000),),
            ),
            RoundPlan(
                label="its own successes",
                learner=_SEEING,
                own_successes=True,
                seek=SeekConfig(videos=3, body="recoloured"),
            ),
        ),
        gate=GateConfig(max_pairs=40, batch=10),
        operate_episodes=8,
        sealed_episodes=20,
        film_px=96,
    )


def smoke_certified() -> LoopConfig:
    """The same, but nobody is promoted without a certificate; both keys are made for the show.

    The point runs over its limits in a third of all episodes when no filter holds it, which the
    certificate states: of the policy alone no level can be claimed.
    """
    asked = CertificateConfig(level="D", unfiltered=60, demo_keys=True)
    return replace(smoke(), name="smoke-certified", certificate=asked)
