"""Meta-World's environment of a task, made so that nothing is hidden and every start can be set."""

from __future__ import annotations

import numpy as np
from metaworld.env_dict import ENV_CLS_MAP
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from loopwright.scenarios.metaworld.task import MetaWorldTask


def make_simulation(task: MetaWorldTask) -> SawyerXYZEnv:
    """Compile a task's scene.

    Left alone, the environment zeroes the goal in the state (and clips it by a cached space) and
    draws its starts from 50 stored ones.
    """
    simulation = ENV_CLS_MAP[task.simulator]()
    simulation._partially_observable = False
    simulation.__dict__.pop("sawyer_observation_space", None)
    simulation._freeze_rand_vec = True
    simulation._set_task_called = True
    simulation.max_path_length = 1_000_000
    return simulation


def start_simulation(simulation: SawyerXYZEnv, vector: np.ndarray) -> np.ndarray:
    """Start over at a random vector and return the state, float64 ``(39,)``."""
    simulation._last_rand_vec = vector
    state, _ = simulation.reset()
    return state
