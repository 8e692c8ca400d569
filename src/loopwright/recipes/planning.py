"""Planning trainings by calculation, and refusing those that this machine cannot hold."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Infeasible, UnknownName
from loopwright.core.stage import resolve_entry
from loopwright.recipes.launch import Launch

if TYPE_CHECKING:
    from loopwright.recipes.training import Training
    from loopwright.train.plan.machine import Machine
    from loopwright.train.plan.plan import Plan

_PLANNERS = {"loopwright.train.wudao:learn": "loopwright.train.plan.wudao"}
"""Learners to the modules that plan them."""


def plan_training(training: Training, devices: int, machine: Machine) -> tuple[Plan, list[str]]:
    """Calculate what a training would need on so many devices; nothing is trained.

    Returns:
        The plan, and changes of which each alone would make it fit, if it does not.

    Raises:
        UnknownName: Trainings of this learner cannot be planned.
        InvalidConfig: The model or the batch does not divide so.
    """
    module = _PLANNERS.get(training.learner.entry)
    if module is None:
        raise UnknownName("learner that can be planned", training.learner.entry, _PLANNERS)
    config = training.learner.config
    plan: Plan = resolve_entry(f"{module}:plan_wudao")(config, devices, machine)
    remedies: list[str] = []
    if not plan.fits:
        remedies = resolve_entry(f"{module}:remedies_wudao")(plan, config)
    return plan, remedies


def check_memory(training: Training, launch: Launch) -> None:
    """Refuse a training that cannot even begin here, before anything of it is made.

    One process needs weights, gradients and moments; of several, each needs all weights at the
    start, before it keeps its share.

    Raises:
        Infeasible: There is less memory than that.
    """
    module = _PLANNERS.get(training.learner.entry)
    if module is None:
        return
    config: dict[str, Any] = dict(training.learner.config)
    is_alone = launch.processes == 1
    needed = resolve_entry(f"{module}:{'state_bytes' if is_alone else 'weights_bytes'}")(config)
    of, present = resolve_entry("loopwright.train.plan.present:memory_of")(
        config.get("device", "cpu")
    )
    if of == "this machine":
        # Its processes share it.
        needed *= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if needed <= present:
        return
    what = "weights, gradients and moments" if is_alone else "whole weights at the start"
    raise Infeasible(
        f"{training.name} needs at least {needed / 2**30:,.1f} GiB for {what}, and {of} has "
        f"{present / 2**30:,.1f} GiB; nothing was allocated. 'loopwright plan {training.name} "
        "--devices N' calculates what it would take"
    )


def plan_json(training: Training, plan: Plan, remedies: list[str]) -> dict[str, Any]:
    """Return a plan as plain data, with what it is a plan of."""
    return {
        "recipe": training.name,
        **plan.to_json(),
        "would_fit_with": remedies,
        "machine": asdict(plan.machine),
    }
