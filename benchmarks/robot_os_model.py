"""A stub of a language model behind an OpenAI-compatible endpoint: answers at once, and counts.

It knows one kind of instruction, ``errand box-1: r1 table-b, r1 table-a, r2 table-b``: who brings a
box where, one after the other. It answers the planner of Loopwright with steps, that of RoboOS with
subtasks, RoboOS's robots with the next call of a tool, and RoboOS's question about the scene with
one word, each as a model that understood everything would.

::

    python -m benchmarks.robot_os_model     prints its port, serves until its input ends
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_ERRAND = re.compile(r"errand ([\w-]+): ([\w\-, ]+)")
_LISTED = re.compile(r"^- .+$", re.MULTILINE)

Leg = tuple[str, str]
"""Who brings the box where."""


def errand(box: str, legs: list[Leg]) -> str:
    """Return the instruction."""
    return f"errand {box}: {', '.join(f'{robot} {goal}' for robot, goal in legs)}"


def legs_in(text: str) -> tuple[str, list[Leg]]:
    """Return the box and the legs of an instruction within a text."""
    found = _ERRAND.search(text)
    assert found is not None, text
    pairs = (leg.split() for leg in found[2].split(","))
    return found[1], [(robot, goal) for robot, goal in pairs]


def reply(messages: list[dict[str, Any]]) -> str:
    """Return what the model says."""
    text = "\n".join(_text_of(m["content"]) for m in messages)
    if "symbolic scene memory" in text:
        return "position"
    if '"holds_now"' in text:
        return _steps(json.loads(_text_of(messages[1]["content"])))
    if "subtask_list" in text:
        return _subtasks(text)
    return _next_call(text)


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _steps(asked: dict[str, Any]) -> str:
    """Plan for Loopwright: the legs that are left, each by its robot or by one that is at work."""
    box, legs = legs_in(asked["instruction"])
    on = re.compile(rf"on\({box}, ([\w-]+)\)")
    start = next(m[1] for fact in asked["holds_now"] if (m := on.fullmatch(fact)))
    at_work = sorted(asked["robots"])
    steps = []
    for number, (robot, goal) in enumerate(legs):
        steps.append(
            {
                "id": f"s{number}",
                "robot": robot if robot in at_work else at_work[0],
                "skill": "carry",
                "values": {"object": box, "start": start, "goal": goal},
                "after": [f"s{number - 1}"] if number else [],
            }
        )
        start = goal
    return json.dumps({"goal": [f"on({box}, {start})"], "steps": steps})


def _subtasks(text: str) -> str:
    """Plan for RoboOS: one subtask for all that a robot does in a row."""
    box, legs = legs_in(text.rpartition("# The task to be completed is")[2])
    listed = [
        {"robot_name": robot, "subtask": errand(box, list(of_robot)), "subtask_order": order}
        for order, (robot, of_robot) in enumerate(groupby(legs, key=lambda leg: leg[0]))
    ]
    plan = {"reasoning_explanation": "as it says", "subtask_list": listed}
    return f"```json\n{json.dumps(plan)}\n```"


def _next_call(text: str) -> str:
    """Act for a robot of RoboOS: the first leg that is not among its completed actions."""
    box, legs = legs_in(text)
    done = len(_LISTED.findall(text.partition("Completed Actions:")[2]))
    if done >= len(legs):
        return "All of it is done."
    call = {"name": "carry", "arguments": {"box": box, "goal": legs[done][1]}}
    return f"```json\n{json.dumps(call)}\n```"


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    calls = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._answer({"calls": _Door.calls})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with _Door.lock:
            _Door.calls += 1
        self._answer(
            {
                "id": "stub",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": reply(asked["messages"])},
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    def _answer(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Model:
    """The stub, from the outside."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._port = port

    @property
    def calls(self) -> int:
        """How often it was asked."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10.0)
        connection.request("GET", "/")
        found = int(json.loads(connection.getresponse().read())["calls"])
        connection.close()
        return found


@contextmanager
def stub_model() -> Iterator[Model]:
    """Run the stub in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.robot_os_model"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Model(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
