"""RoboOS 2.0 as its users run it, started from a checkout that somebody prepared.

The checkout is the branch ``stand-alone`` of FlagOpen/RoboOS at commit c79c9b9, and needs

- the one-line fix without which it plans nothing: where the planner of the master reads the
  environment, the argument that it leaves out is given as None;
- beside ``master`` and ``slaver`` the package ``flag_scale.flagscale.agent.collaboration`` of
  FlagOpen/FlagScale at the commit that its README pins (3fc2037), of which it uses one file;
- ``.venv`` with a Python that has the versions of its ``requirements.txt``, and a ``redis-server``
  in ``.venv/bin``.

Nothing of it is changed here. Its configuration is written into copies that are thrown away: other
ports, loopback instead of every address, a model that answers at once. The matcher of tools, which
wants to load a model from the network, is without a network and so takes its own fall-back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, BinaryIO

SKILLS = Path(__file__).with_name("robot_os_skills.py")
_STARTS_WITHIN_S = 60.0


class RivalUnfit(RuntimeError):
    """The checkout is not as described, or does not start."""


class Redis:
    """As much of a client of Redis as is needed to listen and to look."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream: BinaryIO = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self.read()

    def read(self) -> Any:
        kind, rest = (line := self._stream.readline().decode().rstrip())[:1], line[1:]
        if kind == "*":
            return [self.read() for _ in range(int(rest))]
        if kind == "$":
            size = int(rest)
            return None if size < 0 else self._stream.read(size + 2)[:-2].decode()
        return int(rest) if kind == ":" else rest

    def close(self) -> None:
        self._socket.close()


class Rival:
    """A running RoboOS, as a client on the same machine sees it: HTTP and channels of Redis."""

    def __init__(self, folder: Path, master: int, redis: int) -> None:
        self.folder = folder
        self._master, self._redis_port = master, redis
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._heard: list[tuple[float, str, dict[str, Any]]] = []
        self._news = threading.Condition()

    def listen(self, robots: tuple[str, ...]) -> None:
        """Hear from now on what the master tells its robots, and what they answer."""
        channels = [c for r in robots for c in (f"{r}_to_RoboOS", f"roboos_to_{r}")]
        redis = Redis(self._redis_port)
        redis.ask("SUBSCRIBE", *channels)
        for _ in channels[1:]:
            redis.read()

        def hear() -> None:
            while True:
                try:
                    _, channel, data = redis.read()
                except (OSError, ValueError):
                    return
                heard_s = time.monotonic()
                with self._news:
                    self._heard.append((heard_s, channel, json.loads(data)))
                    self._news.notify_all()

        threading.Thread(target=hear, daemon=True).start()

    def publish(self, instruction: str) -> None:
        """Publish a task; returns when RoboOS has planned it."""
        connection = HTTPConnection("127.0.0.1", self._master, timeout=60.0)
        body = json.dumps({"task": instruction, "refresh": True})
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/publish_task", body, head)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 200:
            raise RivalUnfit(f"publish_task: {answer.status} {said[:300]!r}")

    def carry_out(self, instruction: str, robots: list[str], *, within_s: float = 60.0) -> float:
        """Publish a task; return when the last of its robots had said that it is done."""
        began_s = time.monotonic()
        self.publish(instruction)
        return self.wait_for_results(robots, since_s=began_s, within_s=within_s)

    def wait_for_results(self, robots: list[str], *, since_s: float, within_s: float) -> float:
        until_s = time.monotonic() + within_s
        with self._news:
            while True:
                ended = {c: at for at, c, _ in self._heard if at >= since_s}
                if all(f"{robot}_to_RoboOS" in ended for robot in robots):
                    return max(ended[f"{robot}_to_RoboOS"] for robot in robots)
                if not self._news.wait(until_s - time.monotonic()):
                    raise TimeoutError(f"{robots} did not answer within {within_s:g} s")

    def heard(self, channel: str, *, since_s: float) -> list[float]:
        """Return when something was said on a channel."""
        with self._news:
            return [at for at, c, _ in self._heard if c == channel and at >= since_s]

    def wait_until_idle(self, within_s: float = 10.0) -> None:
        """Wait until RoboOS thinks that nobody is busy."""
        redis = Redis(self._redis_port)
        until_s = time.monotonic() + within_s
        while "1" in redis.ask("HVALS", "AGENT_BUSY") and time.monotonic() < until_s:
            time.sleep(0.02)
        redis.close()

    def listed(self) -> set[str]:
        """Return the robots that RoboOS says it has."""
        connection = HTTPConnection("127.0.0.1", self._master, timeout=10.0)
        connection.request("GET", "/robot_status")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return {robot["robot_name"] for robot in found}

    def skills(self) -> list[list[str]]:
        """Return what skills noted: robot, box, goal, begin, end."""
        return [line.split() for line in (self.folder / "skills.log").read_text().splitlines()]

    def kill_robot(self, robot: str) -> float:
        """Kill the process of a robot with signal 9, and return when."""
        killed_s = time.monotonic()
        self.processes[f"slaver {robot}"].send_signal(signal.SIGKILL)
        self.processes[f"slaver {robot}"].wait()
        return killed_s


@contextmanager
def roboos(checkout: Path, folder: Path, model: str, robots: tuple[str, ...]) -> Iterator[Rival]:
    """Run RoboOS with its processes, as its README says, until the block ends."""
    python, redis_server = checkout / ".venv/bin/python", checkout / ".venv/bin/redis-server"
    for path in (python, redis_server, checkout / "flag_scale", checkout / "master/run.py"):
        if not path.exists():
            raise RivalUnfit(f"{path} is missing; see the head of benchmarks/robot_os_rival.py")
    if "read_environment()" in (checkout / "master/agents/planner.py").read_text():
        raise RivalUnfit("the planner of this checkout lacks the one-line fix; it plans nothing")
    folder.mkdir()
    redis, master, *doors = _free_ports(2 + len(robots))
    (folder / "skills.log").touch()
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout.resolve()),
        "PATH": f"{python.parent.resolve()}:{os.environ['PATH']}",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as stack:
        rival = Rival(folder, master, redis)

        def start(name: str, command: list[str], where: Path) -> None:
            said = stack.enter_context((folder / f"{name}.out").open("wb"))
            process = subprocess.Popen(
                command,
                cwd=where,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            rival.processes[name] = process
            stack.callback(process.wait)
            stack.callback(process.kill)

        where = folder.resolve()
        own = ["--bind", "127.0.0.1", "--save", "", "--dir", str(where)]
        start("redis", [str(redis_server.resolve()), "--port", str(redis), *own], where)
        _wait_for_port(redis)
        at_master = _configured(checkout, folder, "master", "master", redis, model)
        bound = f"import run; run.app.run(host='127.0.0.1', port={master})"
        interpreter = str(python.absolute())
        start("master", [interpreter, "-c", bound], at_master)
        _wait_for_port(master)
        for robot, door in zip(robots, doors, strict=True):
            log = str((folder / "skills.log").resolve())
            start(f"skills {robot}", [interpreter, str(SKILLS), robot, str(door), log], where)
            _wait_for_port(door)
            at = _configured(checkout, folder, "slaver", robot, redis, model, door=door)
            start(f"slaver {robot}", [interpreter, "run.py"], at)
        until_s = time.monotonic() + _STARTS_WITHIN_S
        while not set(robots) <= rival.listed():
            if time.monotonic() > until_s:
                raise RivalUnfit(
                    f"of {robots} came {rival.listed()}; see the .out files in {folder}"
                )
            time.sleep(0.2)
        time.sleep(2.0)  # a robot is listed a little before it and the master listen
        rival.listen(robots)
        yield rival


def _configured(
    checkout: Path,
    folder: Path,
    part: str,
    name: str,
    redis: int,
    model: str,
    door: int | None = None,
) -> Path:
    """Return a copy of a part with its configuration for this run."""
    copied = folder / name
    shutil.copytree(checkout / part, copied)
    path = copied / "config.yaml"
    text = path.read_text()
    for pattern, value in (
        (r"port: 6379", f"port: {redis}"),
        (r'cloud_server: ".*"', f'cloud_server: "{model}/"'),
        (r"name: demo_robot", f"name: {name}"),
        (r'(\n +path: )"http.*"', rf'\1"http://127.0.0.1:{door}"'),
    ):
        text = re.sub(pattern, value, text)
    path.write_text(text)
    return copied


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_for_port(port: int) -> None:
    until_s = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            if time.monotonic() > until_s:
                raise RivalUnfit(f"nobody listens on port {port} of this machine") from None
            time.sleep(0.1)
        else:
            return
