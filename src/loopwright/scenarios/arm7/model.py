"""The scene: seven hinges with velocity servos, a tool, a table, and a load that may hang on it.

Lengths between the joints are the published kinematic ones of the Panda; masses are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig

RATE_HZ = 500.0
JOINTS = tuple(f"joint{number}" for number in range(1, 8))
POINTS = ("elbow", "wrist", "tool")

_RANGES = (
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
)
_SPEED = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
_TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_GAIN = (450.0, 450.0, 450.0, 450.0, 60.0, 60.0, 60.0)
_TURNED, _TURNED_BACK = "0.7071068 0.7071068 0 0", "0.7071068 -0.7071068 0 0"
_PLACE = (
    ("0 0 0.333", "1 0 0 0"),
    ("0 0 0", _TURNED_BACK),
    ("0 -0.316 0", _TURNED),
    ("0.0825 0 0", _TURNED),
    ("-0.0825 0.384 0", _TURNED_BACK),
    ("0 0 0", _TURNED),
    ("0.088 0 0", _TURNED),
)
_LINK = (
    ("0 0 -0.15 0 0 0", 0.06, 4.0),
    ("0 0 0 0 -0.18 0", 0.06, 3.0),
    ("0 0 -0.12 0.08 0 0", 0.055, 3.2),
    ("0 0 0 -0.08 0.1 0", 0.055, 3.0),
    ("0 0 -0.26 0 0 0", 0.05, 2.4),
    ("0 0 0 0.088 0 0", 0.05, 1.5),
    ("0 0 0 0 0 0.107", 0.04, 1.2),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """What a plant has and the nominal model does not know of."""

    payload_kg: float = 0.0
    friction_nm: float = 0.0
    """Dry friction of the four large joints; the wrist's three have a fifth of it."""

    def __post_init__(self) -> None:
        """Refuse what no load and no friction can be."""
        if not (0 <= self.payload_kg < 100 and 0 <= self.friction_nm < 1000):
            raise InvalidConfig(f"{self}; expected a payload and a friction of 0 or more")


def scene(mismatch: Mismatch) -> str:
    """Return the arm as MJCF text."""
    opening, closing = "", ""
    for index, name in enumerate(JOINTS):
        place, turn = _PLACE[index]
        ends, radius, mass = _LINK[index]
        low, high = _RANGES[index]
        friction = mismatch.friction_nm * (1.0 if index < 4 else 0.2)
        opening += f"""
        <body name="link{index + 1}" pos="{place}" quat="{turn}" gravcomp="1">
          <joint name="{name}" range="{low} {high}" frictionloss="{friction}"/>
          <geom fromto="{ends}" size="{radius}" mass="{mass}"/>"""
        opening += {3: '<site name="elbow"/>', 5: '<site name="wrist"/>'}.get(index, "")
        closing += "</body>"
    drives = "".join(
        f'<velocity name="drive_{name}" joint="{name}" kv="{_GAIN[i]}" '
        f'ctrlrange="-{_SPEED[i]} {_SPEED[i]}" forcerange="-{_TORQUE[i]} {_TORQUE[i]}"/>'
        for i, name in enumerate(JOINTS)
    )
    return f"""
    <mujoco model="arm7">
      <compiler autolimits="true" angle="radian"/>
      <option timestep="{1 / RATE_HZ}" integrator="implicitfast"/>
      <default>
        <joint axis="0 0 1" armature="0.1"/>
        <geom type="capsule" contype="0" conaffinity="0" rgba="0.9 0.9 0.92 1"/>
      </default>
      <worldbody>
        <light pos="0 0 3"/>
        <geom name="table" type="plane" size="1.5 1.5 0.1" conaffinity="1" rgba="0.5 0.5 0.5 1"/>
        {opening}
          <body name="hand" pos="0 0 0.107" gravcomp="1">
            <geom fromto="0 0 0 0 0 0.07" size="0.035" mass="0.7" contype="1"/>
            <site name="tool" pos="0 0 0.1034"/>
            <body name="payload" pos="0 0 0.1034">
              <geom type="sphere" size="0.04" mass="{max(mismatch.payload_kg, 1e-9)}"/>
            </body>
          </body>
        {closing}
      </worldbody>
      <actuator>{drives}</actuator>
    </mujoco>"""
