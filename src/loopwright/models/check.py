"""A check that a model keeps its promises; for plug-in authors and our own tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loopwright.core.errors import ContractError


def check_model(
    build: Callable[[], nn.Module],
    forward: Callable[[nn.Module], dict[str, Tensor]],
    *,
    shapes: dict[str, tuple[int, ...]],
    untrained: tuple[str, ...] = (),
) -> None:
    """Check a model: shapes, gradients everywhere, save and load, determinism.

    Args:
        build: Makes the model; called under a fixed seed.
        forward: Runs every part that training uses and returns named float outputs.
        shapes: Expected shape of each output.
        untrained: Prefixes of parameters that need no gradient.

    Raises:
        ContractError: A promise is broken; the message says which.
    """
    model = _seeded(build)
    outputs = forward(model)
    _check_shapes(outputs, shapes)
    _check_gradients(model, outputs, untrained)
    _check_same(outputs, forward(_seeded(build)), "the same seed gives another model")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(model.state_dict(), path)
        restored = build()
        restored.load_state_dict(load_file(path))
    _check_same(outputs, forward(restored), "saving and loading changes the model")


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def _check_shapes(outputs: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    found = {name: tuple(value.shape) for name, value in outputs.items()}
    if found != shapes:
        raise ContractError(f"the model returned the shapes {found}, expected {shapes}")
    for name, value in outputs.items():
        if not torch.isfinite(value).all():
            raise ContractError(f"the output {name!r} is not finite")


def _check_gradients(
    model: nn.Module, outputs: dict[str, Tensor], untrained: tuple[str, ...]
) -> None:
    torch.stack([value.float().square().mean() for value in outputs.values()]).sum().backward()
    dead = [
        name
        for name, parameter in model.named_parameters()
        if not name.startswith(untrained or ("\0",))
        and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    if dead:
        raise ContractError(f"no gradient reaches {dead}; they would never be trained")


def _check_same(first: dict[str, Tensor], second: dict[str, Tensor], complaint: str) -> None:
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise ContractError(f"{complaint}: the output {name!r} differs")
