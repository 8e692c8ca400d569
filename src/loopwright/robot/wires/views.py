"""What a fleet looks like from outside: states and beliefs as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState
from loopwright.robot.journal.journal import Entry
from loopwright.robot.journal.words import in_order, tell
from loopwright.robot.logic import Symbols
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.things import Thing
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import TaskGraph

Plain = dict[str, Any]


def task_summary(task: TaskState) -> Plain:
    """Return how a task stands, without how it got there."""
    return {
        "id": task.id,
        "instruction": task.instruction,
        "by": task.by,
        "asked_s": task.asked_s,
        "status": task.status,
        "outcome": task.outcome,
        "reason": task.reason,
        "refused": task.refused,
        "cancelled": task.cancelled,
        "ended_s": task.ended_s,
        "deadline_s": task.deadline_s,
        "expected_late_s": None if task.ended_s else task.expected_late_s,
        "late_s": task.overdue_s(task.ended_s) if task.ended_s else None,
    }


def task_view(task: TaskState, contracts: Mapping[str, SkillContract] | None = None) -> Plain:
    """Return all there is to say of a task.

    Args:
        task: Which.
        contracts: Skill to its contract, so that values stand in the order of its parameters.
    """
    return {
        **task_summary(task),
        "trace": task.trace,
        "plans": task.plans,
        "planner": task.planner,
        "graph": _graph_view(task.graph, contracts or {}) if task.graph else None,
        "attempts": [_attempt_view(intent) for intent in task.intents],
    }


def robot_view(robot: RobotState, state: FleetState, stopped_by: str, failure: str | None) -> Plain:
    """Return how a robot stands.

    Args:
        robot: Which.
        state: Of the fleet.
        stopped_by: Who or what stops it; empty if nothing does.
        failure: Why nobody directs it; None if somebody does.
    """
    return {
        **robot_glance(robot, state, stopped_by, failure),
        "skills": [contract.to_json() for contract in robot.skills.values()],
    }


def robot_glance(
    robot: RobotState, state: FleetState, stopped_by: str, failure: str | None
) -> Plain:
    """Return how a robot stands, without its contracts; see :func:`robot_view`."""
    return {
        "name": robot.name,
        "alive": robot.alive,
        "lost_because": robot.lost_because,
        "directed": failure is None,
        "stopped": bool(stopped_by),
        "stopped_by": stopped_by,
        "parts": sorted(robot.parts),
        "skills": sorted(robot.skills),
        "running": _running(robot.name, state),
    }


def thing_outline(
    thing: Thing, belief: Estimate | None, now_s: float, relations: Mapping[str, list[str]]
) -> Plain:
    """Return what a map shows of a thing.

    Args:
        thing: Which.
        belief: Where it is believed to be.
        now_s: Wall clock.
        relations: Name of a relation to what it holds to: ``{"on": ["table"]}``.
    """
    position = belief.pose[:3] if belief else thing.position_m
    return {
        "name": thing.name,
        "kind": thing.kind,
        "color": thing.properties.get("color"),
        "size_m": list(thing.size_m),
        "radius_m": thing.radius_m,
        "position_m": list(position) if position else None,
        "heading_rad": _heading_rad(belief.pose[3:]) if belief else None,
        "sigma_m": belief.sigma_m if belief else None,
        "seen_by": belief.by if belief else None,
        "unseen_for_s": max(0.0, now_s - belief.time_s) if belief else None,
        "relations": dict(relations),
    }


def event_view(entry: Entry, intent: IntentState | None = None) -> Plain:
    """Return an event of the journal; signatures, which could be used again, are left out.

    Args:
        entry: The event.
        intent: The attempt that it is about, if it is about one; for its sentence.
    """
    data = entry.event.to_json()
    if isinstance(entry.event, happened.StopReleased):
        data.pop("signature")
    return {
        "number": entry.number,
        "time_s": entry.time_s,
        "task": entry.task,
        "cause": entry.cause,
        "kind": entry.event.KIND,
        "says": tell(entry.event, intent),
        **data,
    }


def thing_view(
    thing: Thing, belief: Estimate | None, now_s: float, symbols: Symbols | None
) -> Plain:
    """Return where something is believed to be, by whom and how sure; None where unknown."""
    place = belief and {
        "position_m": list(belief.pose[:3]),
        "quaternion_wxyz": list(belief.pose[3:]),
        "sigma_m": belief.sigma_m,
        "seen_by": belief.by,
        "seen_s": belief.time_s,
        "unseen_for_s": max(0.0, now_s - belief.time_s),
        "version": belief.version,
    }
    held = [] if symbols is None else [f for f in symbols.true if thing.name in f.args]
    return {
        "name": thing.name,
        "kind": thing.kind,
        "properties": dict(thing.properties),
        "where": place,
        "fixed_at_m": list(thing.position_m) if thing.position_m else None,
        "relations": sorted(str(fact) for fact in held),
    }


def sighting_view(sighting: Sighting | None) -> Plain | None:
    """Return a sighting of the past; None if there was none."""
    if sighting is None or sighting.pose is None:
        return None
    return {
        "position_m": list(sighting.pose[:3]),
        "quaternion_wxyz": list(sighting.pose[3:]),
        "sigma_m": sighting.sigma_m,
        "seen_by": sighting.by,
        "seen_s": sighting.time_s,
    }


def roboos_robots(state: FleetState) -> list[Plain]:
    """Return the robots at work in the form of RoboOS's ``robot_status``."""
    return [
        {
            "robot_name": robot.name,
            "robot_state": "busy" if _running(robot.name, state) else "idle",
        }
        for robot in state.robots.values()
        if robot.alive
    ]


def roboos_plan(graph: TaskGraph | None) -> Plain:
    """Return a graph in the form of RoboOS's planner: groups of one order, one after another."""
    depths: dict[str, int] = {}
    subtasks: list[Plain] = []
    if graph is not None:
        for identity in graph.order():
            step = graph.step(identity)
            depths[identity] = 1 + max((depths[a] for a in step.after), default=0)
            subtasks.append(
                {
                    "robot_name": step.robot or "",
                    "subtask": f"{step.skill}({', '.join(map(str, step.values.values()))})",
                    "subtask_order": depths[identity],
                }
            )
    return {
        "reasoning_explanation": graph.reading if graph else "",
        "subtask_list": sorted(subtasks, key=lambda s: s["subtask_order"]),
    }


def _heading_rad(quaternion_wxyz: Sequence[float]) -> float:
    """Return where the x axis of something upright points, from above."""
    w, x, y, z = quaternion_wxyz
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def _graph_view(graph: TaskGraph, contracts: Mapping[str, SkillContract]) -> Plain:
    plain = graph.to_json()
    for step in plain["steps"]:
        step["values"] = in_order(step["values"], contracts.get(step["skill"]))
    return plain


def _attempt_view(intent: IntentState) -> Plain:
    return {
        "intent": intent.id,
        "step": intent.step,
        "robot": intent.robot,
        "skill": intent.skill,
        "values": in_order(intent.values, intent.contract),
        "issued_s": intent.issued_s,
        "ended_s": intent.ended_s,
        "started": intent.started,
        "outcome": intent.outcome,
        "reason": intent.reason,
        "claim": intent.claim,
        "unmet": list(intent.unmet),
    }


def _running(robot: str, state: FleetState) -> list[Plain]:
    return [
        {"task": task.id, "intent": intent.id, "skill": intent.skill}
        for task in state.open_tasks
        for intent in task.open_intents
        if intent.robot == robot
    ]
