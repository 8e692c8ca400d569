"""Bodies: what the moving arm looks like. Only the model that draws is changed."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from loopwright.core.errors import UnknownName

if TYPE_CHECKING:
    import mujoco

Body = Literal["robot", "recoloured", "hand"]
"""The robot as it is; arm and gripper in the colour of skin; the bare hand, without an arm."""

BODIES: tuple[str, ...] = get_args(Body)

_SKIN_RGB = (0.87, 0.67, 0.55)
_ROBOT_ROOT = "base"
_ARM_ROOT = "right_arm_base_link"
_HAND_ROOT = "right_hand"


def check_body(body: str) -> None:
    """Raise :class:`UnknownName` unless there is such a body."""
    if body not in BODIES:
        raise UnknownName("body", body, BODIES)


def dress(model: mujoco.MjModel, body: str) -> None:
    """Make the arm of ``model`` look like ``body``, in place."""
    check_body(body)
    if body == "robot":
        return
    robot = _subtree(model, _ROBOT_ROOT)
    skin = _subtree(model, _HAND_ROOT if body == "hand" else _ARM_ROOT)
    for geom in range(model.ngeom):
        owner = int(model.geom_bodyid[geom])
        if owner in skin:
            _paint(model, geom)
        elif owner in robot and body == "hand":
            model.geom_matid[geom] = -1
            model.geom_rgba[geom, 3] = 0.0
    for site in range(model.nsite):
        if int(model.site_bodyid[site]) in robot:
            model.site_rgba[site, 3] = 0.0


def _paint(model: mujoco.MjModel, geom: int) -> None:
    """Give a geom the colour of skin; what was invisible (collision shapes) stays so."""
    model.geom_matid[geom] = -1
    model.geom_rgba[geom, :3] = _SKIN_RGB


def _subtree(model: mujoco.MjModel, root: str) -> set[int]:
    first = model.body(root).id
    members = {first}
    for body in range(first + 1, model.nbody):
        if int(model.body_parentid[body]) in members:
            members.add(body)
    return members
