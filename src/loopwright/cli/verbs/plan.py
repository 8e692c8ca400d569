"""``loopwright plan``: what a training would need on many accelerators, by calculation."""

from __future__ import annotations

import json
from typing import Annotated

import tyro
from rich.console import Group
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.progress import progress_bar
from loopwright.core.errors import InvalidConfig
from loopwright.recipes.planning import plan_json, plan_training
from loopwright.recipes.registry import get_training
from loopwright.train.plan.machine import Machine
from loopwright.train.plan.plan import Plan, gib


def main(  # noqa: PLR0913  (a command line is wide)
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    /,
    *,
    devices: int,
    device_memory_gib: float = 80.0,
    peak_tflop_s: float = 989.0,
    mfu: tuple[float, float] = (0.2, 0.45),
    node_devices: int = 8,
    node_gb_s: float = 450.0,
    network_gb_s: float = 50.0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Calculate memory and step time of a training on accelerators that need not exist.

    The real model is built without memory and spread by the code that trains; nothing is trained
    or measured on a cluster. The defaults are those of H100s with a 400 Gbit/s card each.

    Args:
        recipe: Name of a training recipe ("wudao.cluster-1t"), or a file path/to/recipe.py[:name].
        devices: Accelerators, one process each.
        device_memory_gib: Memory of each.
        peak_tflop_s: What each computes at most, in the recipe's precision.
        mfu: Lower and higher share of that which the work reaches.
        node_devices: Accelerators of a node.
        node_gb_s: What one of them sends a second to those of its node.
        network_gb_s: What one of them sends a second to those of other nodes.
        json_output: Print JSON.
    """
    if devices < 1:
        raise InvalidConfig(f"devices is {devices}; expected at least 1")
    machine = Machine(
        memory_gib=device_memory_gib,
        peak_tflop_s=peak_tflop_s,
        mfu=mfu,
        node_devices=node_devices,
        node_gb_s=node_gb_s,
        network_gb_s=network_gb_s,
    )
    training = get_training(recipe)
    with progress_bar(training.name) as progress:
        progress(0.0, "building the model without memory")
        plan, remedies = plan_training(training, devices, machine)
    if json_output:
        print(json.dumps(plan_json(training, plan, remedies)))
        return 0
    console = stdout_console()
    console.print(_heading(training.name, plan))
    console.print(Group(_memory(plan), _exchanges(plan)))
    console.print("\n".join(_sentences(plan, remedies)), soft_wrap=True)
    return 0


def _heading(name: str, plan: Plan) -> str:
    ways = plan.parallel
    data = plan.devices // (ways.tensor * ways.expert)
    return (
        f"{name}: planned, not trained\n"
        f"{plan.shares.parameters:,} parameters, {plan.shares.active:,} of them active for a "
        f"token\n{plan.devices:,} devices: data {data} ({ways.data}), expert {ways.expert}, "
        f"tensor {ways.tensor}; {plan.precision}, {plan.rows} row(s) a device, "
        f"{plan.turns} turn(s), {plan.step_tokens:,} tokens a step"
    )


def _memory(plan: Plan) -> Table:
    table = Table("memory of a device, planned", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, size in plan.memory.items():
        table.add_row(name, gib(size))
    table.add_row("together", gib(sum(plan.memory.values())))
    table.add_row("there is for tensors", gib(plan.machine.usable_bytes))
    table.add_row("activations if kept", gib(plan.keeping.most))
    table.add_row("activations if recomputed", gib(plan.recomputing.most))
    return table


def _exchanges(plan: Plan) -> Table:
    table = Table(
        "sent by a device in a step, planned", "", "alone takes", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, size in plan.traffic.items():
        table.add_row(name.replace("_", " "), gib(size), f"{plan.exchange_s[name]:.3g} s")
    return table


def _sentences(plan: Plan, remedies: list[str]) -> list[str]:
    best, worst = plan.step_s
    low, high = plan.machine.mfu
    said = [
        f"{plan.flops / 1e12:,.1f} TFLOP a device and step; planned step {best:.3g} to {worst:.3g} "
        f"s at {high:.0%} to {low:.0%} of {plan.machine.peak_tflop_s:g} TFLOP/s: "
        f"{plan.step_tokens / worst:,.0f} to {plan.step_tokens / best:,.0f} tokens/s",
    ]
    if plan.fits:
        said.append(f"A step fits, with {gib(-plan.missing_bytes)} to spare.")
    else:
        said.append(f"A step does not fit: {gib(plan.missing_bytes)} a device are missing.")
        said += [f"  it would fit with {remedy}" for remedy in remedies]
        if not remedies:
            said.append("  none of the usual changes alone would make it fit; shrink the model")
    if plan.start_missing_bytes > 0:
        said.append(
            "The start does not fit: every process makes the whole model before it keeps its "
            f"share, and {gib(plan.start_missing_bytes)} are missing for that."
        )
    said.append(
        f"A checkpoint is {gib(plan.shares.whole_state)}, gathered in the memory of the first "
        "process's host."
    )
    return said
