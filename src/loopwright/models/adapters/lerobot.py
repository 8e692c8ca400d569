"""A LeRobot policy folder as a candidate (family ``"lerobot"``).

What is taken: a folder as ``save_pretrained`` writes it, ``config.json`` and ``model.safetensors``
and, since LeRobot 0.4, the ``policy_preprocessor*`` and ``policy_postprocessor*`` files. Adopting
one needs no LeRobot: names and shapes are checked from ``config.json`` alone. *Running* one needs
the ``lerobot`` package, which builds the network.

Limits, so that nobody is surprised:

- Names and shapes are checked; units and normalisation cannot be. A policy trained on degrees
  gets the radians of the interface.
- Policies run on the CPU, where the same seed gives the same action.
- Policies that fetch a backbone from a hub when they are built (several vision-language ones)
  need that network access.
- ``lerobot`` pins older releases of torch, av and more than our lock does; install it in an
  environment of its own. The mapping below is tested with a small object that has LeRobot's
  ``select_action``; the call into LeRobot itself (:func:`load`) was written against version 0.4.4
  and is not executed by our tests.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig, MissingExtra, PolicyError
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Candidate, Policy

FAMILY = "lerobot"
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
STATE_KEY = "observation.state"
ACTION_KEY = "action"

Process = Callable[[Any], Any]


class SelectsActions(Protocol):
    """The part of LeRobot's policies that is used here."""

    def reset(self) -> None:
        """Forget the last episode."""
        ...

    def select_action(self, batch: dict[str, Any]) -> Tensor:
        """Return the next action ``(1, A)``; chunks are queued inside."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureMap:
    """Which LeRobot feature is fed from which part of an observation."""

    cameras: Mapping[str, str]
    """Image feature (``"observation.images.top"``) to the name of our camera."""
    state: bool
    """Whether the policy sees proprioception (as ``"observation.state"``)."""

    @classmethod
    def fit(
        cls,
        config: Mapping[str, Any],
        interface: Interface,
        cameras: Mapping[str, str] | None = None,
    ) -> FeatureMap:
        """Match the features of a LeRobot ``config.json`` to an interface.

        Args:
            config: The parsed ``config.json``.
            interface: What the policy will see and command here.
            cameras: Image feature to camera name, where they cannot be told from the names.

        Raises:
            InvalidConfig: A feature has no counterpart, or one of another shape.
        """
        inputs, outputs = _features(config, "input_features"), _features(config, "output_features")
        images = {key: value for key, value in inputs.items() if value.get("type") == "VISUAL"}
        chosen = {key: _camera_for(key, images, interface, cameras or {}) for key in images}
        for key, name in chosen.items():
            spec = next(c for c in interface.cameras if c.name == name)
            _require_shape(key, images[key], (3, spec.height_px, spec.width_px), f"camera {name!r}")
        state = STATE_KEY in inputs
        if state:
            _require_shape(STATE_KEY, inputs[STATE_KEY], (interface.proprio.size,), "proprio")
        unknown = sorted(set(inputs) - set(images) - {STATE_KEY})
        if unknown:
            raise InvalidConfig(
                f"the policy wants the inputs {unknown}, which no interface offers; "
                "only images and 'observation.state' can be fed"
            )
        if ACTION_KEY not in outputs:
            raise InvalidConfig(
                f"the policy puts out {sorted(outputs)}; expected the feature {ACTION_KEY!r}"
            )
        _require_shape(ACTION_KEY, outputs[ACTION_KEY], (interface.action.size,), "action")
        return cls(cameras=chosen, state=state)

    def to_json(self) -> dict[str, Json]:
        """Return plain data; ``FeatureMap(**data)`` reads it back."""
        return {"cameras": dict(self.cameras), "state": self.state}

    def batch(self, observation: Observation) -> dict[str, Any]:
        """Return the batch of one that LeRobot expects.

        Images become float32 ``(1, 3, H, W)`` in [0, 1], proprioception float32 ``(1, P)``, and
        the instruction the entry ``"task"``.
        """
        batch: dict[str, Any] = {"task": observation.instruction, "robot_type": ""}
        for key, camera in self.cameras.items():
            pixels = np.ascontiguousarray(observation.images[camera].transpose(2, 0, 1))
            batch[key] = torch.from_numpy(pixels).float().div(255.0).unsqueeze(0)
        if self.state:
            batch[STATE_KEY] = torch.from_numpy(observation.proprio.copy()).unsqueeze(0)
        return batch


class LerobotPolicy:
    """Speaks our interface outwards and LeRobot's inwards, one action at a time.

    Randomness comes from torch's generator, which LeRobot has no argument for: each policy keeps
    a state of its own and puts the process's state back after every call.
    """

    def __init__(
        self,
        policy: SelectsActions,
        features: FeatureMap,
        *,
        preprocess: Process = lambda batch: batch,
        postprocess: Process = lambda action: action,
    ) -> None:
        """Wrap a policy.

        Args:
            policy: Anything with LeRobot's ``reset`` and ``select_action``.
            features: How observations become its batch.
            preprocess: LeRobot's pipeline before it (normalisation, tokens).
            postprocess: LeRobot's pipeline behind it (units of the robot).
        """
        self._policy, self._features = policy, features
        self._preprocess, self._postprocess = preprocess, postprocess
        self._generator_state = torch.get_rng_state()

    def reset(self, seed: int) -> None:
        """Forget the last episode; draw from ``seed``."""
        self._generator_state = torch.Generator().manual_seed(seed).get_state()
        self._policy.reset()

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next action, float32 ``(1, A)``.

        Raises:
            PolicyError: ``select_action`` returned something that is not one action.
        """
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._generator_state)
            batch = self._preprocess(self._features.batch(observation))
            action = self._postprocess(self._policy.select_action(batch))
            self._generator_state = torch.get_rng_state()
        if not isinstance(action, Tensor) or action.ndim not in (1, 2):
            raise PolicyError(f"select_action returned {action!r}; expected a tensor (1, A)")
        return action.reshape(-1, action.shape[-1]).float().cpu().numpy()


def adopt_lerobot(
    folder: Path, out: Path, interface: Interface, *, cameras: Mapping[str, str] | None = None
) -> Candidate:
    """Copy a LeRobot policy folder into a new candidate folder and seal it.

    Args:
        folder: Holds ``config.json`` and ``model.safetensors``.
        out: Where the candidate will lie; made here, and must be empty.
        interface: What the policy will see and command here.
        cameras: Image feature to camera name, where they cannot be told from the names.

    Returns:
        The sealed candidate. Only JSON and safetensors files are copied.

    Raises:
        InvalidConfig: The folder is no LeRobot policy, its features do not fit the interface, or
            ``out`` is not empty.
    """
    config = _read_config(folder)
    features = FeatureMap.fit(config, interface, cameras)
    if out.exists() and any(out.iterdir()):
        raise InvalidConfig(f"{out} is not empty; name a new folder for the candidate")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors"):
            shutil.copyfile(path, out / path.name)
    return Candidate.seal(
        out,
        family=FAMILY,
        interface=interface,
        config={"features": features.to_json(), "type": config["type"]},
    )


def load(folder: Path, candidate: Candidate) -> Policy:
    """Build the policy of a candidate folder with LeRobot, on the CPU.

    Raises:
        MissingExtra: The ``lerobot`` package is not installed.
    """
    try:
        factory: Any = importlib.import_module("lerobot.policies.factory")
        configs: Any = importlib.import_module("lerobot.configs.policies")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("lerobot"):
            raise
        raise MissingExtra("lerobot", "lerobot", "running a LeRobot policy") from error
    config = configs.PreTrainedConfig.from_pretrained(str(folder))
    config.device = "cpu"
    policy = factory.get_policy_class(config.type).from_pretrained(str(folder), config=config)
    preprocess, postprocess = factory.make_pre_post_processors(
        config,
        pretrained_path=str(folder),
        preprocessor_overrides={"device_processor": {"device": "cpu"}},
    )
    features: Any = candidate.config["features"]
    return LerobotPolicy(
        policy, FeatureMap(**features), preprocess=preprocess, postprocess=postprocess
    )


def _read_config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise InvalidConfig(
                f"{folder} has no {name}; expected a folder written by LeRobot's save_pretrained"
            )
    try:
        config = json.loads((folder / CONFIG_NAME).read_bytes())
    except ValueError as error:
        raise InvalidConfig(f"{folder / CONFIG_NAME} is no JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        raise InvalidConfig(f"{folder / CONFIG_NAME} names no policy 'type' (\"act\", ...)")
    if config.get("use_peft"):
        raise InvalidConfig(
            f"{folder} holds an adapter, not a whole policy; merge it into its base model first"
        )
    return config


def _features(config: Mapping[str, Any], part: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the features of one side, name to type and shape, as LeRobot writes them."""
    features = config.get(part) or {}
    if not isinstance(features, Mapping) or not all(
        isinstance(feature, Mapping) and isinstance(feature.get("shape"), (list, tuple))
        for feature in features.values()
    ):
        raise InvalidConfig(
            f"{part} of {CONFIG_NAME} is {features!r}; "
            'expected {"name": {"type": "VISUAL", "shape": [3, 96, 96]}, ...}'
        )
    return features


def _camera_for(
    key: str, images: Mapping[str, Any], interface: Interface, cameras: Mapping[str, str]
) -> str:
    """Return the camera that feeds an image feature: as told, by name, or the only one."""
    names = [camera.name for camera in interface.cameras]
    name = cameras.get(key, key.rpartition(".")[2])
    if name in names:
        return name
    if key not in cameras and len(images) == len(names) == 1:
        return names[0]
    raise InvalidConfig(
        f"the policy wants the image {key!r}, the interface has the cameras {names}; "
        f"say which one with cameras={{{key!r}: ...}}"
    )


def _require_shape(
    key: str, feature: Mapping[str, Any], expected: tuple[int, ...], what: str
) -> None:
    found = tuple(feature["shape"])
    if found != expected:
        raise InvalidConfig(
            f"the policy's {key!r} has the shape {found}, {what} of the interface gives {expected}"
        )
