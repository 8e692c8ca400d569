"""Any registered Gymnasium environment, with a judge, as a scenario."""

from __future__ import annotations

from loopwright.scenarios.gymnasium.scenario import GymnasiumScenario
from loopwright.scenarios.judgement import Judgement

__all__ = ["GymnasiumScenario", "Judgement"]
