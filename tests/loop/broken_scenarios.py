"""Scenarios that break their contract, each in one way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loopwright.scenarios.point.scenario import PointReach
from loopwright.scenarios.point.world import PointWorld


class _RaisingVerifier:
    name = "raising/1"

    def __call__(self, header, evidence):
        return 1 / 0


class _NanWorld(PointWorld):
    def step(self, action):
        step = super().step(action)
        step.observation.proprio[0] = np.nan
        return step


class _WrongShapeWorld(PointWorld):
    def reset(self, seed):
        return replace(super().reset(seed), images={"top": np.zeros((8, 8, 3), np.uint8)})


class _Scenario(PointReach):
    world: type[PointWorld] = PointWorld

    def make_world(self, *, body="robot", image_px=None):
        return self.world(body=body, image_px=image_px or 16)


raising_verifier = PointReach()
raising_verifier.verifier = _RaisingVerifier()

nan_world = _Scenario()
nan_world.world = _NanWorld

wrong_shape_world = _Scenario()
wrong_shape_world.world = _WrongShapeWorld
