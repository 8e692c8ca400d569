"""The Sawyer of Meta-World with its limits, in any of the tasks."""

from __future__ import annotations

from loopwright.core.scenario import Scenario
from loopwright.safety.body import RobotEntry
from loopwright.scenarios.metaworld.safety import SawyerCoupling, make_body, make_limits
from loopwright.scenarios.watched import Rig


def make_rig(scenario: Scenario) -> Rig:
    """Return the Sawyer in the world of a scenario."""
    body = make_body()
    return Rig(
        spec=body.spec,
        entry=RobotEntry(body="loopwright.scenarios.metaworld.safety:make_body"),
        body=body,
        limits=make_limits(),
        world=scenario.make_world,
        coupling=SawyerCoupling,
    )
