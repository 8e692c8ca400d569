"""How tasks and robots stand, in a word and a colour of the terminal."""

from __future__ import annotations

from typing import Any

from loopwright.robot.journal import events as happened

_TONES = {"succeeded": "green", "failed": "red", "unknown": "yellow"}
_STEP_SIGNS = {"succeeded": "✓", "failed": "✗", "unknown": "?"}

Plain = dict[str, Any]


def standing(task: Plain) -> str:
    """Return how a task stands."""
    if task["refused"]:
        return "refused"
    if task["cancelled"]:
        return f"cancelled, {task['outcome']}"
    return str(task["outcome"] or task["status"])


def tone(task: Plain) -> str:
    """Return the colour of a task."""
    return _TONES.get(task["outcome"] or "", "cyan" if task["status"] != "ended" else "yellow")


def steps_of(task: Plain) -> list[Plain]:
    """Return the steps of the present graph."""
    return task["graph"]["steps"] if task["graph"] else []


def done_of(task: Plain) -> str:
    """Return how many steps are done, of how many."""
    steps = steps_of(task)
    done = {a["step"] for a in task["attempts"] if a["outcome"] == "succeeded"}
    return f"{sum(step['id'] in done for step in steps)}/{len(steps)}" if steps else "-"


def step_stands(task: Plain, step: Plain) -> tuple[str, str, str]:
    """Return sign, colour and robot of a step."""
    tries = [attempt for attempt in task["attempts"] if attempt["step"] == step["id"]]
    if not tries:
        return "·", "dim", step["robot"] or "any robot"
    last = tries[-1]
    if last["outcome"] is None:
        return "▸", "cyan", last["robot"]
    return _STEP_SIGNS[last["outcome"]], _TONES[last["outcome"]], last["robot"]


def call_of(step: Plain) -> str:
    """Return a step as it is said to a robot."""
    return " ".join((step["skill"], *(str(value) for value in step["values"].values())))


def robot_stands(robot: Plain) -> tuple[str, str, str]:
    """Return a word, a colour and the reason or the work of a robot."""
    if not robot["alive"]:
        return "lost", "red", robot["lost_because"]
    if robot["stopped"]:
        return "stopped", "red", robot["stopped_by"]
    if not robot["directed"]:
        return "undirected", "red", "nobody directs it: it does nothing more"
    if robot["running"]:
        return (
            "at work",
            "cyan",
            ", ".join(f"{r['skill']} for {r['task']}" for r in robot["running"]),
        )
    return "free", "green", "can " + ", ".join(robot["skills"])


def style_of(event: happened.Event) -> str:
    """Return the colour of an event."""
    if isinstance(event, (happened.StopPressed, happened.RobotLost)):
        return "red"
    if isinstance(event, happened.RobotHeld):
        return "red" if event.reason else ""
    if isinstance(event, (happened.IntentEnded, happened.TaskEnded)):
        return _TONES[event.outcome]
    return "bold" if isinstance(event, happened.TaskAsked) else ""
