"""Letting an environment draw as little as the image needs."""

from __future__ import annotations

from typing import Any

OVERSAMPLING = 2
"""Side of the drawn image over that of the wanted one; averaging the rest smooths edges."""


def draw_small(environment: Any, side_px: int) -> None:
    """Make a MuJoCo environment draw images of about ``side_px`` without costly effects.

    Gymnasium draws 480 px with shadows and multisampling, whatever becomes of the image. Only
    settings of the picture change, and only before its first one; other environments are left
    alone.
    """
    simulator = environment.unwrapped
    renderer = getattr(simulator, "mujoco_renderer", None)
    if renderer is None or not hasattr(simulator, "model"):
        return
    simulator.model.vis.quality.shadowsize = 0
    simulator.model.vis.quality.offsamples = 0
    renderer.width = renderer.height = OVERSAMPLING * side_px
    view = simulator.model.vis.global_
    view.offwidth = max(view.offwidth, renderer.width)
    view.offheight = max(view.offheight, renderer.height)
