"""Acting by one matrix: action = W [proprio, 1]."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Candidate

WEIGHTS_NAME = "weights.json"


class LinearPolicy:
    """A policy that reads proprioception only."""

    name = "linear/1"

    def __init__(self, weights: np.ndarray, interface: Interface) -> None:
        """Take weights ``(A, P + 1)``; the last column is the bias."""
        self._weights = weights
        self._interface = interface

    def reset(self, seed: int) -> None:
        """Do nothing: there is no memory and no randomness."""

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, A)``."""
        features = np.append(observation.proprio, 1.0)
        return self._interface.action.clip(self._weights @ features)[None]


def save(
    folder: Path, weights: np.ndarray, interface: Interface, lineage: dict[str, str | None]
) -> Candidate:
    """Write a sealed candidate folder."""
    (folder / WEIGHTS_NAME).write_text(json.dumps(weights.tolist()))
    return Candidate.seal(folder, family="linear", interface=interface, config={}, lineage=lineage)


def load(folder: Path, candidate: Candidate) -> LinearPolicy:
    """Build the policy of a checked candidate folder.

    Raises:
        DamagedData: The weights do not fit the interface.
    """
    interface = candidate.interface
    weights = np.array(json.loads((folder / WEIGHTS_NAME).read_text()), dtype=np.float64)
    expected = (interface.action.size, interface.proprio.size + 1)
    if weights.shape != expected:
        raise DamagedData(f"{folder / WEIGHTS_NAME} holds {weights.shape}, expected {expected}")
    return LinearPolicy(weights, interface)
