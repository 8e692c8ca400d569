"""``loopwright list``: what can be named."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from loopwright.models.registry import families
from loopwright.recipes.registry import recipe_names
from loopwright.scenarios.registry import scenario_names


def main(*, json_output: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """List scenarios, recipes and policy families, with those of installed plug-ins.

    Args:
        json_output: Print JSON.
    """
    known = {
        "scenarios": scenario_names(),
        "recipes": recipe_names(),
        "policy families": sorted(families()),
    }
    if json_output:
        print(json.dumps(known))
        return 0
    for kind, names in known.items():
        print(f"{kind}:")
        print("\n".join(f"  {name}" for name in names))
    return 0
