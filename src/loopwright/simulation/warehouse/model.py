"""The warehouse as MJCF: floor, tables, cubes, and robots made of arms, grippers and bases.

Arms have the published kinematics of the Franka Emika Panda, with links of our own. Bases slide on
the floor by velocity servos, without wheels: what a wheel would do on it is not simulated. Grippers
are two pads that close with a force; what they hold, they hold by friction.
"""

from __future__ import annotations

from collections.abc import Collection

from loopwright.simulation.warehouse import layout

RATE_HZ = 100.0
"""Control steps per second."""
TIMESTEP_S = 0.002
GRIP_FORCE_N = 25.0
FINGER_WAY_M = 0.04

ARM_RANGES = (
    (-2.8973, 2.8973), (-1.7628, 1.7628), (-2.8973, 2.8973), (-3.0718, -0.0698),
    (-2.8973, 2.8973), (-0.0175, 3.7525), (-2.8973, 2.8973),
)  # fmt: skip
ARM_SPEED_RAD_S = (1.5, 1.5, 1.5, 1.5, 2.0, 2.0, 2.0)
ARM_HOME_RAD = (0.0, -0.6, 0.0, -2.2, 0.0, 1.6, 0.785)
BASE_SPEED = (0.6, 0.6, 0.8)
"""Metres per second twice, radians per second."""
_TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_GAIN = (900.0, 900.0, 900.0, 900.0, 120.0, 120.0, 120.0)
_TURNED, _BACK = "0.7071068 0.7071068 0 0", "0.7071068 -0.7071068 0 0"
_PLACE = (
    ("0 0 0.333", "1 0 0 0"), ("0 0 0", _BACK), ("0 -0.316 0", _TURNED), ("0.0825 0 0", _TURNED),
    ("-0.0825 0.384 0", _BACK), ("0 0 0", _TURNED), ("0.088 0 0", _TURNED),
)  # fmt: skip
_LINK = (
    ("0 0 -0.15 0 0 0", 0.06, 4.0), ("0 0 0 0 -0.18 0", 0.06, 3.0),
    ("0 0 -0.12 0.08 0 0", 0.055, 3.2), ("0 0 0 -0.08 0.1 0", 0.055, 3.0),
    ("0 0 -0.26 0 0 0", 0.05, 2.4), ("0 0 0 0.088 0 0", 0.05, 1.5), ("0 0 0 0 0 0.107", 0.04, 1.2),
)  # fmt: skip


def arm_joints(arm: str) -> tuple[str, ...]:
    """Return the names of an arm's joints, ``"arm-1/joint1"`` to ``"arm-1/joint7"``."""
    return tuple(f"{arm}/joint{n}" for n in range(1, 8))


def base_joints(robot: str) -> tuple[str, ...]:
    """Return the names of a base's coordinates: x, y, heading."""
    return (f"{robot}/x", f"{robot}/y", f"{robot}/heading")


def arms_of(robot: str) -> tuple[str, ...]:
    """Return the names of a robot's arms."""
    if robot == "duo-1":
        return ("duo-1/left", "duo-1/right")
    return (robot,) if "arm" in layout.PARTS[robot] else ()


def coordinates_of(robot: str) -> tuple[str, ...]:
    """Return the joints of a robot in the order of its commands, without the grips."""
    base = base_joints(robot) if "base" in layout.PARTS[robot] else ()
    return (*base, *(joint for arm in arms_of(robot) for joint in arm_joints(arm)))


def scene(robots: Collection[str] = tuple(layout.ROBOTS), *, cubes: bool = True) -> str:
    """Return the warehouse as MJCF text.

    Args:
        robots: Which robots are in it; a nominal model of one leaves the others out.
        cubes: Whether there is anything to move.
    """
    bodies = "".join(_robot(name) for name in robots)
    drives = "".join(_drives(name) for name in robots)
    couplings = "".join(
        f'<joint joint1="{arm}/finger1" joint2="{arm}/finger2" solref="0.005 1"/>'
        for name in robots
        for arm in arms_of(name)
    )
    return f"""
    <mujoco model="warehouse">
      <compiler autolimits="true" angle="radian"/>
      <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
      <size memory="8M"/>
      <visual>
        <global offwidth="1280" offheight="960"/>
        <headlight ambient="0.35 0.35 0.35" diffuse="0.45 0.45 0.45" specular="0 0 0"/>
      </visual>
      <asset>
        <texture name="floor" type="2d" builtin="checker" width="256" height="256"
          rgb1="0.83 0.84 0.85" rgb2="0.79 0.80 0.82"/>
        <material name="floor" texture="floor" texrepeat="10 10"/>
      </asset>
      <default>
        <default class="link">
          <joint axis="0 0 1" armature="0.1"/>
          <geom type="capsule" contype="0" conaffinity="0" rgba="0.92 0.92 0.94 1"/>
        </default>
        <default class="pad">
          <geom type="box" size="0.010 0.006 0.012" mass="0.03" friction="1.5 0.02 0.001" condim="4"
            contype="2" conaffinity="1" solref="0.004 1" rgba="0.2 0.2 0.22 1"/>
        </default>
      </default>
      <worldbody>
        <light pos="2 2 5" dir="0 0 -1" diffuse="0.5 0.5 0.5"/>
        <camera name="overview" pos="2.2 -3.6 4.4" xyaxes="1 0 0 0 0.72 0.69"/>
        <geom name="floor" type="plane" size="8 8 0.1" material="floor" contype="1"/>
        {"".join(_surface(name, s) for name, s in layout.SURFACES.items())}
        {_door()}
        {bodies}
        {"".join(_cube(name) for name in layout.CUBES) if cubes else ""}
      </worldbody>
      <equality>{couplings}</equality>
      <actuator>{drives}</actuator>
    </mujoco>"""


def _surface(name: str, surface: layout.Surface) -> str:
    (x, y), (width, depth) = surface.centre_m, surface.size_m
    half = layout.TABLE_TOP_M / 2
    return (
        f'<geom name="{name}" type="box" pos="{x} {y} {half}" size="{width / 2} {depth / 2} {half}"'
        ' contype="1" conaffinity="3" friction="0.9" rgba="0.62 0.50 0.38 1"/>'
    )


def _door() -> str:
    post = '<geom type="box" size="0.05 0.05 1" contype="0" conaffinity="0" rgba="0.4 0.43 0.5 1"'
    return (
        f'{post} pos="5.2 -0.7 1"/>{post} pos="5.2 0.7 1"/>'
        '<geom type="box" pos="5.2 0 2.05" size="0.05 0.75 0.05" contype="0" conaffinity="0"'
        ' rgba="0.4 0.43 0.5 1"/>'
    )


def _cube(name: str) -> str:
    on, _, (dx, dy) = layout.CUBES[name]
    x, y = layout.SURFACES[on].centre_m
    half = layout.CUBE_M / 2
    return f"""
    <body name="{name}" pos="{x + dx} {y + dy} {layout.TABLE_TOP_M + half}">
      <freejoint/>
      <geom name="{name}" type="box" size="{half} {half} {half}" mass="0.06" condim="4"
        friction="1.2 0.02 0.001" contype="1" conaffinity="3" solref="0.004 1"
        rgba="{layout.COLORS[name.split("-")[0]]}"/>
    </body>"""


def _robot(name: str) -> str:
    x, y, heading = layout.ROBOTS[name]
    if "base" in layout.PARTS[name]:
        return _base(name, x, y, heading)
    if name == "duo-1":
        return (
            f'<geom type="box" pos="{x} {y} {layout.ARM_ON_FLOOR_M / 2}"'
            f' size="0.10 0.32 {layout.ARM_ON_FLOOR_M / 2}" {_ONLY_SEEN}/>'
            + _arm("duo-1/left", f"{x} {y + 0.22} {layout.ARM_ON_FLOOR_M}")
            + _arm("duo-1/right", f"{x} {y - 0.22} {layout.ARM_ON_FLOOR_M}")
        )
    half = layout.ARM_ON_FLOOR_M / 2
    return (
        f'<geom type="cylinder" pos="{x} {y} {half}" size="0.1 {half}" contype="0"'
        ' conaffinity="0" rgba="0.3 0.33 0.4 1"/>' + _arm(name, f"{x} {y} {layout.ARM_ON_FLOOR_M}")
    )


def _base(name: str, x: float, y: float, heading: float) -> str:
    """Return a base; its coordinates are its pose in the world."""
    deck_x, deck_y, top = layout.DECK_M
    width, depth, _ = layout.DECK_SIZE_M
    body = f'<site name="{name}/middle" pos="0 0 0.2"/>'
    body += f'<geom type="box" pos="0 0 0.18" size="0.24 0.19 0.14" mass="40" {_ONLY_SEEN}/>'
    if name == "cart-1":
        body += (
            f'<geom name="{name}/deck" type="box" pos="{deck_x} {deck_y} {top - 0.01}"'
            f' size="{width / 2} {depth / 2} 0.01" mass="2" contype="1" conaffinity="3"'
            ' friction="1.2 0.02 0.001" condim="4" rgba="0.25 0.45 0.6 1"/>'
        )
    else:
        body += f'<geom type="box" pos="0 0 0.37" size="0.12 0.12 0.05" mass="3" {_ONLY_SEEN}/>'
        body += _arm(name, f"0 0 {layout.ARM_ON_BASE_M}")
    wheels = "".join(
        f'<geom type="cylinder" pos="{wx} {wy} 0.05" euler="1.5708 0 0" size="0.05 0.02" mass="0.5"'
        ' contype="0" conaffinity="0" rgba="0.15 0.15 0.15 1"/>'
        for wx in (-0.18, 0.18)
        for wy in (-0.2, 0.2)
    )
    slide = 'type="slide" range="-2 7" armature="1"'
    return f"""
    <body name="{name}">
      <joint name="{name}/x" axis="1 0 0" {slide}/>
      <joint name="{name}/y" axis="0 1 0" {slide}/>
      <joint name="{name}/heading" axis="0 0 1" range="-6.2 6.2" armature="1"/>
      {body}{wheels}
    </body>"""


_ONLY_SEEN = 'contype="0" conaffinity="0" rgba="0.3 0.33 0.4 1"'


def _arm(arm: str, place: str) -> str:
    opening, closing = "", ""
    for index, joint in enumerate(arm_joints(arm)):
        pos, turn = _PLACE[index]
        ends, radius, mass = _LINK[index]
        low, high = ARM_RANGES[index]
        opening += f"""
        <body name="{arm}/link{index + 1}" pos="{pos}" quat="{turn}" gravcomp="1" childclass="link">
          <joint name="{joint}" range="{low} {high}"/>
          <geom fromto="{ends}" size="{radius}" mass="{mass}"/>"""
        opening += {3: f'<site name="{arm}/elbow"/>'}.get(index, "")
        closing += "</body>"
    fingers = "".join(
        f"""
        <body name="{arm}/finger{n}" pos="0 0 0.065" gravcomp="1">
          <joint name="{arm}/finger{n}" type="slide" axis="0 {side} 0" range="0 {FINGER_WAY_M}"
            armature="0.05" damping="8"/>
          <geom class="pad" name="{arm}/pad{n}" pos="0 {side * 0.006} 0.035"/>
          <geom pos="0 {side * 0.008} 0.012" type="box" size="0.008 0.005 0.014" mass="0.02"/>
        </body>"""
        for n, side in ((1, 1), (2, -1))
    )
    return f"""
    <body name="{arm}/mount" pos="{place}" childclass="link">
      {opening}
        <body name="{arm}/hand" pos="0 0 0.107" quat="0.9238795 0 0 -0.3826834" gravcomp="1">
          <geom type="box" pos="0 0 0.035" size="0.025 0.075 0.03" mass="0.5"/>
          <site name="{arm}/tool" pos="0 0 0.1"/>
          {fingers}
        </body>
      {closing}
    </body>"""


def _drives(name: str) -> str:
    text = ""
    if "base" in layout.PARTS[name]:
        for joint, speed in zip(base_joints(name), BASE_SPEED, strict=True):
            text += _servo(joint, 4000.0, speed, 2000.0)
    for arm in arms_of(name):
        for index, joint in enumerate(arm_joints(arm)):
            text += _servo(joint, _GAIN[index], ARM_SPEED_RAD_S[index], _TORQUE[index])
        # Effort 1 closes, -1 opens.
        text += (
            f'<motor name="{arm}/grip" joint="{arm}/finger1" gear="{-GRIP_FORCE_N}"'
            ' ctrlrange="-1 1"/>'
        )
    return text


def _servo(joint: str, gain: float, speed: float, force: float) -> str:
    return (
        f'<velocity name="{joint}" joint="{joint}" kv="{gain}" ctrlrange="{-speed} {speed}"'
        f' forcerange="{-force} {force}"/>'
    )
