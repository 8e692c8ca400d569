"""The fleet over HTTP with a real server: roles, RoboOS's shapes, results, streams, refusals."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from toy_robots import ToyBrain
from wires_fleet import OpenFleet, open_fleet

from loopwright.core.errors import InvalidConfig
from loopwright.robot.knowledge import Problem
from loopwright.robot.latch import StopLatch, sign_release, write_releases
from loopwright.robot.sighting import Sighting
from loopwright.robot.task import TaskGraph
from loopwright.robot.wires import http
from loopwright.robot.wires.desk import Released
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.requests import LARGEST_BODY_BYTES
from loopwright.robot.wires.serve import ServerSettings, serve
from loopwright.safety.keys import KeyRing, SigningKey


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    with open_fleet(tmp_path) as fleet:
        yield fleet


def until(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 5.0
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.005)


ROUTES = [
    ("POST", "/publish_task", "operate"),
    ("GET", "/publish_task", "observe"),
    ("GET", "/robot_status", "observe"),
    ("GET", "/system_status", "observe"),
    ("POST", "/tasks", "operate"),
    ("GET", "/tasks", "observe"),
    ("GET", "/tasks/{task}", "observe"),
    ("GET", "/tasks/{task}/result", "observe"),
    ("POST", "/tasks/{task}/cancel", "operate"),
    ("POST", "/tasks/{task}/pause", "operate"),
    ("POST", "/tasks/{task}/resume", "operate"),
    ("GET", "/robots", "observe"),
    ("GET", "/fleet", "observe"),
    ("GET", "/cameras", "observe"),
    ("GET", "/cameras/{camera}", "observe"),
    ("GET", "/memory", "observe"),
    ("GET", "/memory/{thing}", "observe"),
    ("GET", "/events", "observe"),
    ("POST", "/stop", "operate"),
    ("POST", "/release", "resume"),
    ("*", "/mcp", "observe"),
]
PAGE = ["/", *(f"/page/{name}" for name in (
    "page.css", "page.js", "door.js", "drawing.js", "map.js", "tasks.js", "journal.js"
))]  # fmt: skip
"""Open to anybody, and empty."""
MAY = {
    "observe": {"observe"},
    "operate": {"observe", "operate"},
    "train": {"observe"},
    "resume": {"observe", "resume"},
}


def test_every_route_is_known_to_this_test(fleet: OpenFleet) -> None:
    app = make_app(fleet.coordinator, fleet.memory, fleet.access, fleet.journal)
    known = {" ".join(row) for row in ROUTES} | {f"GET {path} anybody" for path in PAGE}
    assert {r.name for r in app.routes} == known  # type: ignore[attr-defined]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic {}", "{}"])
def test_without_a_known_token_no_route_answers(fleet: OpenFleet, header: str) -> None:
    value = header.format(fleet.access.tokens["operate"])
    with httpx.Client(base_url=fleet.server.url, headers={"Authorization": value}) as client:
        for method, path, _ in ROUTES:
            for verb in (method, "GET", "POST", "DELETE", "OPTIONS"):
                answer = client.request(
                    verb.replace("*", "POST"), path, json={"task": "ring north"}
                )
                assert answer.status_code == 401
                assert set(answer.json()) == {"error", "message"}
        assert client.get("/nothing/here").status_code == 401
    assert not fleet.coordinator.look_at(lambda s: s.tasks or s.stops)


@pytest.mark.parametrize("role", ["observe", "operate", "train", "resume"])
def test_a_role_gets_what_it_may_and_nothing_else(fleet: OpenFleet, role: str) -> None:
    with fleet.client(role) as client:  # type: ignore[arg-type]
        for method, path, wanted in ROUTES:
            if wanted not in MAY[role]:
                answer = client.request(method, path, json={})
                assert (answer.status_code, answer.json()["error"]) == (403, "not-allowed"), path
            elif method == "GET" and path != "/events":
                assert client.get(path).status_code in (200, 404), path
    assert not fleet.coordinator.look_at(lambda s: s.tasks and role != "operate")


def test_nobody_is_told_that_another_origin_may_read(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:
        answer = client.get("/robots", headers={"Origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_roboos_clients_are_answered_in_their_own_shapes(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:
        assert client.get("/robot_status").json() == [{"robot_name": "r1", "robot_state": "idle"}]
        assert client.get("/publish_task").json() == {"statis": "success"}
        assert set(client.get("/system_status").json()) == {"cpu_load", "memory_usage"}
        answer = client.post("/publish_task", json={"task": "ring north south", "refresh": True})
        assert answer.status_code == 200
        found = answer.json()
        assert (found["status"], found["message"]) == ("success", "Task published successfully")
        assert found["data"]["subtask_list"] == [
            {"robot_name": "", "subtask": "ring(north)", "subtask_order": 1},
            {"robot_name": "", "subtask": "ring(south)", "subtask_order": 2},
        ]
        result = client.get(f"/tasks/{found['tasks'][0]}/result", params={"wait_s": 20}).json()
        assert result["outcome"] == "succeeded"
        refused = client.post("/publish_task", json={"task": "ring"})
        assert refused.status_code == 422
        assert "which bells" in refused.json()["message"]


def test_two_tasks_in_one_post_are_each_done_once(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:
        answer = client.post("/publish_task", json={"task": ["ring north", "ring south"]})
        for task in answer.json()["tasks"]:
            client.get(f"/tasks/{task}/result", params={"wait_s": 20})
    assert len(fleet.runner.world.acts) == 2


def test_of_several_tasks_it_is_said_which_are_taken_on_and_which_refused(
    fleet: OpenFleet,
) -> None:
    with fleet.client("operate") as client:
        answer = client.post("/publish_task", json={"task": ["ring north", "ring"]})
        found = answer.json()
        assert (answer.status_code, found["status"]) == (207, "partly refused")
        assert found["message"].startswith("1 of 2 tasks are taken on; 'ring' is refused")
        assert [plan is None for plan in found["data"]] == [False, True]
        outcomes = []
        for task in found["tasks"]:
            result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
            outcomes.append((result["outcome"], result["refused"]))
        assert outcomes == [("succeeded", False), ("failed", True)]
        answer = client.post("/publish_task", json={"task": ["ring", "ring"]})
        assert (answer.status_code, answer.json()["error"]) == (422, "refused")


def test_a_task_without_a_plan_is_not_called_published(
    fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    think = ToyBrain.plan
    thought = threading.Event()

    def slowly(brain: ToyBrain, problem: Problem) -> TaskGraph:
        thought.wait(10.0)
        return think(brain, problem)

    monkeypatch.setattr(ToyBrain, "plan", slowly)
    monkeypatch.setattr(http, "PLAN_WITHIN_S", 0.3)
    with fleet.client("operate") as client:
        answer = client.post("/publish_task", json={"task": "ring north"})
        found = answer.json()
        assert (answer.status_code, found["status"], found["data"]) == (202, "planning", None)
        thought.set()
        result = client.get(f"/tasks/{found['tasks'][0]}/result", params={"wait_s": 20}).json()
        assert result["outcome"] == "succeeded"


def test_a_task_bears_the_id_of_its_client_and_runs_once(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:

        def publish(task: object, task_id: str) -> httpx.Response:
            return client.post("/publish_task", json={"task": task, "task_id": task_id})

        assert publish("ring north", "job-7").json()["tasks"] == ["job-7"]
        result = client.get("/tasks/job-7/result", params={"wait_s": 20}).json()
        assert result["outcome"] == "succeeded"
        again = publish("ring north", "job-7")
        assert again.status_code == 400
        assert "there is a task job-7 already" in again.json()["message"]
        assert publish(["ring south", "ring east"], "two").json()["tasks"] == ["two-1", "two-2"]
        for name in ("", "a/b", "../x", "x" * 65, " "):
            assert publish("ring west", name).status_code == 400
        for task in ("two-1", "two-2"):
            client.get(f"/tasks/{task}/result", params={"wait_s": 20})
    assert len(fleet.runner.world.acts) == 3


def test_a_lie_is_no_success_over_the_wire_either(fleet: OpenFleet) -> None:
    fleet.runner.mood = "lies"
    with fleet.client("operate") as client:
        task = client.post("/tasks", json={"instruction": "ring north"}).json()["task"]
        result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
        assert (result["status"], result["outcome"]) == ("ended", "failed")
        seen = client.get(f"/tasks/{task}").json()
        assert {a["outcome"] for a in seen["attempts"]} == {"failed"}


def test_a_deadline_counts_from_now_and_missing_it_is_said(fleet: OpenFleet) -> None:
    fleet.runner.lasts_s = 0.2
    with fleet.client("operate") as client:
        for deadline_s, is_late in ((0.05, True), (60, False)):
            asked = {"instruction": "ring north south", "deadline_s": deadline_s}
            task = client.post("/tasks", json=asked).json()["task"]
            result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
            assert result["deadline_s"] == deadline_s
            assert (result["late_s"] > 0.0) is is_late
            assert ("after its deadline" in result["reason"]) is is_late
            fleet.runner.world.true.clear()


def test_a_graph_is_taken_or_refused_before_anything_moves(fleet: OpenFleet) -> None:
    step = {"id": "s1", "skill": "ring", "values": {"bell": "north"}}
    with fleet.client("operate") as client:
        for graph in (
            {"steps": [step], "goal": ["rung(north)"]},
            {"steps": [{**step, "robot": "r1"}], "goal": []},
            {"subtask_list": [{"robot_name": "r1", "subtask": "ring(south)", "subtask_order": 1}]},
        ):
            task = client.post("/tasks", json={"graph": graph}).json()["task"]
            result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
            assert result["outcome"] == "succeeded", result
        acts = len(fleet.runner.world.acts)
        for graph, code in (
            ({"steps": [{**step, "skill": "fly"}], "goal": []}, 422),
            ({"steps": [{**step, "robot": "r9"}], "goal": []}, 422),
            ({"steps": [{**step, "values": {"bell": "west"}}], "goal": []}, 422),
            ({"steps": [{**step, "values": {"bell": 7}}], "goal": []}, 422),
            ({"steps": [{**step, "values": 7}], "goal": []}, 400),
            ({"steps": [step], "goal": ["rung(south)", "rung(("]}, 400),
            ({"steps": [step, step], "goal": []}, 400),
            ({"steps": [{**step, "after": ["s1"]}], "goal": []}, 400),
            ({"steps": [{**step, "colour": "red"}], "goal": []}, 400),
            ({"steps": [step], "goal": [], "extra": 1}, 400),
            ({"steps": 7, "goal": []}, 400),
            ({"steps": [7], "goal": []}, 400),
            ({"steps": [{**step, "id": 7}], "goal": []}, 400),
            ({"steps": [{**step, "after": [7]}], "goal": []}, 400),
            ({"steps": [{**step, "values": {"bell": ["north"]}}], "goal": []}, 400),
            ({"steps": [], "goal": []}, 422),
            ({"subtask_list": [{"robot_name": "r1"}]}, 422),
            ({"subtask_list": 7}, 422),
        ):
            answer = client.post("/tasks", json={"graph": graph})
            assert answer.status_code in (400, 422), (graph, answer.text)
            assert answer.status_code == code or "robot" in str(graph), (graph, answer.text)
    assert len(fleet.runner.world.acts) == acts


def test_cancel_pause_and_resume_do_what_they_say(fleet: OpenFleet) -> None:
    fleet.runner.lasts_s = 0.3
    with fleet.client("operate") as client:
        task = client.post("/publish_task", json={"task": "ring north south"}).json()["tasks"][0]
        assert client.post(f"/tasks/{task}/pause").json()["status"] == "paused"
        time.sleep(0.8)
        assert len(fleet.runner.world.acts) <= 1
        assert client.get(f"/tasks/{task}/result").status_code == 202
        client.post(f"/tasks/{task}/resume")
        result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
        assert result["outcome"] == "succeeded"
        fleet.runner.lasts_s = 20.0
        other = client.post("/publish_task", json={"task": "ring east west"}).json()["tasks"][0]
        client.post(f"/tasks/{other}/cancel")
        result = client.get(f"/tasks/{other}/result", params={"wait_s": 10}).json()
        assert (result["cancelled"], result["outcome"]) == (True, "failed")
        listed = client.get("/tasks", params={"status": "ended", "limit": 1}).json()["tasks"]
        assert [t["id"] for t in listed] == [other]


def test_a_stop_holds_and_only_the_resume_role_releases_it(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client, fleet.client("resume") as resume:
        assert client.post("/stop", json={"robot": "r9"}).status_code == 404
        assert client.post("/stop").json() == {"stopped": "all"}
        assert client.get("/robots").json()["robots"][0]["stopped"] is True
        task = client.post("/tasks", json={"instruction": "ring north"}).json()["task"]
        assert client.get(f"/tasks/{task}/result", params={"wait_s": 0.5}).status_code == 202
        until(lambda: fleet.runner.latched)
        signature = fleet.site.sign_releases(None, "nothing was in the way")
        release = {"by": "ann", "signature": signature}
        assert client.post("/release", json=release).status_code == 403
        assert resume.post("/release", json={"by": "ann"}).status_code == 400
        released = resume.post("/release", json=release).json()
        assert released == {"released": ["r1"], "whole": True}
        result = client.get(f"/tasks/{task}/result", params={"wait_s": 20}).json()
        assert result["outcome"] == "succeeded"
        assert "payload" not in json.dumps(fleet_events(client))


def test_a_release_that_is_not_signed_for_this_stop_is_neither_written_nor_told(
    fleet: OpenFleet,
) -> None:
    with fleet.client("operate") as client, fleet.client("resume") as resume:
        client.post("/stop", json={"robot": "r1"})
        until(lambda: fleet.runner.latched)
        (stop,) = fleet.site.stops(None)
        recorder = SigningKey.read(fleet.site.recorder_key)
        old = fleet.site.sign_releases("r1", "seen")
        client.post("/stop", json={"robot": "r1"})
        until(lambda: fleet.site.stops(None) != [stop])
        (stop,) = fleet.site.stops(None)
        for signature, code in (
            ("", 400),
            ("junk", 400),
            ("{}", 400),
            ("[7]", 400),
            ("[]", 400),
            (write_releases(sign_release(stop, recorder, "seen")), 403),
            (write_releases(sign_release(stop, SigningKey.new(), "seen")), 403),
            (old, 403),
        ):
            for named in ({"robot": "r1"}, {}):
                body = {"by": "ann", "signature": signature, **named}
                answer = resume.post("/release", json=body)
                assert answer.status_code == code, answer.text
        assert fleet.runner.latched
        assert fleet.coordinator.look_at(lambda s: dict(s.stops)) == {"r1": "operate over http"}
        new = {"by": "ann", "signature": fleet.site.sign_releases("r1", "seen"), "robot": "r1"}
        assert resume.post("/release", json=new).json() == {"released": ["r1"], "whole": False}
        until(lambda: not fleet.runner.latched)
        assert resume.post("/release", json=new).status_code == 403  # nothing is stopped any more


def test_a_release_of_some_stops_releases_those_and_none_of_a_stop_of_all(
    fleet: OpenFleet,
) -> None:
    other = StopLatch(fleet.site.latch("r9"), "r9", KeyRing.read(fleet.site.ring))
    other.press("stopped long ago")
    with fleet.client("operate") as client, fleet.client("resume") as resume:
        client.post("/stop", json={"robot": "r1"})
        until(lambda: fleet.runner.latched)
        some = {"by": "ann", "signature": fleet.site.sign_releases("r1", "seen")}
        assert resume.post("/release", json=some).json() == {"released": ["r1"], "whole": False}
        client.post("/stop")
        until(lambda: fleet.runner.latched)
        some = {"by": "ann", "signature": fleet.site.sign_releases("r1", "seen")}
        for named in ({"robot": "r1"}, {}):
            answer = resume.post("/release", json={**some, **named})
            assert (answer.status_code, answer.json()["error"]) == (409, "still-stopped")
            assert "released as a whole" in answer.json()["message"]
        assert fleet.runner.latched
        assert fleet.coordinator.look_at(lambda s: list(s.stops)) == [None]


def test_a_door_that_cannot_check_a_signature_takes_no_release(fleet: OpenFleet) -> None:
    app = make_app(fleet.coordinator, fleet.memory, fleet.access, fleet.journal, mcp=False)
    with serve(app) as server, fleet.client("resume") as resume:
        fleet.coordinator.stop("r1", by="ann")
        until(lambda: fleet.runner.latched)
        body = {"by": "ann", "signature": fleet.site.sign_releases("r1", "seen")}
        assert resume.post(f"{server.url}/release", json=body).status_code == 409
    assert fleet.coordinator.look_at(lambda s: list(s.stops)) == ["r1"]


def test_a_stop_is_told_although_everybody_waits_for_the_journal(fleet: OpenFleet) -> None:
    paths = [path for method, path, _ in ROUTES if method == "GET" and "{" not in path]
    paths += ["/tasks/t-none", "/tasks/t-none/result?wait_s=5"]

    def look(path: str) -> None:
        with fleet.client("observe") as client, suppress(httpx.HTTPError):
            client.get(path, timeout=1.0)

    def press(body: dict[str, str]) -> None:
        with fleet.client("operate") as client:
            client.post("/stop", json=body)

    with fleet.held(), fleet.client("operate") as client:
        threads = [threading.Thread(target=look, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        began_s = time.monotonic()
        assert client.get("/").status_code == 200
        assert client.get("/cameras").status_code == 200
        assert time.monotonic() - began_s < 1.0
        for body in ({"robot": "r1"}, {"robot": "r7"}, {}):
            threads.append(threading.Thread(target=press, args=(body,)))
            threads[-1].start()
        until(lambda: fleet.runner.latched)
    for thread in threads:
        thread.join()
    assert set(fleet.coordinator.look_at(lambda s: tuple(s.stops))) == {"r1", None}


def test_a_fleet_that_nobody_directs_does_not_look_well(fleet: OpenFleet) -> None:
    fleet.runner.lasts_s = 60.0
    with fleet.client("operate") as client:
        task = client.post("/publish_task", json={"task": "ring north"}).json()["tasks"][0]
        assert client.get("/fleet").json()["failure"] is None
        fleet.break_disk()
        time.sleep(0.3)  # as old as a glance may be
        for path in ("/fleet", "/robots"):
            seen = client.get(path).json()
            assert "the disk is full" in seen["failure"]
            assert [robot["directed"] for robot in seen["robots"]] == [False]
        for method, path in (
            ("GET", "/robot_status"),
            ("GET", "/publish_task"),
            ("GET", f"/tasks/{task}/result?wait_s=20"),
            ("POST", "/publish_task"),
        ):
            began_s = time.monotonic()
            answer = client.request(method, path, json={"task": "ring south"})
            assert (answer.status_code, answer.json()["error"]) == (503, "not-written"), path
            assert "the disk is full" in answer.json()["message"]
            assert time.monotonic() - began_s < 5.0
        assert client.get(f"/tasks/{task}").json()["status"] == "running"
        stopped = client.post("/stop", json={"robot": "r1"})
        assert stopped.status_code == 503
        assert "r1 told to stop, which is not written down" in stopped.json()["message"]
        until(lambda: fleet.runner.latched)  # the order is on the bus, the answer is here
        for path in ("/fleet", "/robots"):
            (robot,) = client.get(path).json()["robots"]
            assert robot["stopped"]
            assert robot["stopped_by"] == "operate over http, not in the journal"


def test_a_stop_presses_the_button_that_was_given(fleet: OpenFleet) -> None:
    pressed: list[tuple[str, ...]] = []

    class Button:
        def stop(self, robot: str | None, *, by: str) -> None:
            pressed.append(("stop", robot or "all", by))

        def release(self, robot: str | None, *, by: str, signature: str) -> Released:
            pressed.append(("release", robot or "all", by, signature))
            return Released(robots=("r1",), whole=True)

    app = make_app(
        fleet.coordinator, fleet.memory, fleet.access, fleet.journal, mcp=False, button=Button()
    )
    with serve(app) as server, fleet.client("operate") as client, fleet.client("resume") as resume:
        client.post(f"{server.url}/stop", json={"robot": "r1"})
        resume.post(f"{server.url}/release", json={"by": "ann", "signature": "s"})
    assert pressed == [("stop", "r1", "operate over http"), ("release", "all", "ann", "s")]


def test_a_stop_is_answered_while_everybody_waits(fleet: OpenFleet) -> None:
    fleet.runner.lasts_s = 60.0
    with fleet.client("operate") as client:
        task = client.post("/publish_task", json={"task": "ring north"}).json()["tasks"][0]

        def wait() -> None:
            httpx.get(
                f"{fleet.server.url}/tasks/{task}/result",
                params={"wait_s": 30},
                headers=client.headers,
                timeout=40.0,
            )

        waiters = [threading.Thread(target=wait) for _ in range(60)]
        for waiter in waiters:
            waiter.start()
        time.sleep(0.3)
        began_s = time.monotonic()
        client.post("/stop")
        assert time.monotonic() - began_s < 5.0
        until(lambda: fleet.runner.latched)
        client.post(f"/tasks/{task}/cancel")
        for waiter in waiters:
            waiter.join()


def fleet_events(client: httpx.Client, since: int = 0, last: int | None = None) -> list[dict]:
    """Read the stream until the newest event, as a client would that is cut off then."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    params = {} if last is not None else {"since": since}
    found: list[dict] = []
    with client.stream("GET", "/events", params=params, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        number = None
        for line in stream.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                found.append(json.loads(line[6:]))
                assert found[-1]["number"] == number
                if found[-1]["kind"] == "task-ended":
                    break
    return found


def test_the_stream_of_events_is_taken_up_where_it_was_cut(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:
        for instruction in ("ring north", "ring south"):
            task = client.post("/tasks", json={"instruction": instruction}).json()["task"]
            client.get(f"/tasks/{task}/result", params={"wait_s": 20})
        first = fleet_events(client)
        second = fleet_events(client, last=first[-1]["number"])
        numbers = [e["number"] for e in (*first, *second)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert second[0]["kind"] == "task-asked"
        assert second[-1]["kind"] == "task-ended"
        bad = client.get("/events", headers={"Last-Event-ID": "x"})
        assert bad.status_code == 400


def test_an_open_stream_hears_at_once_and_ends_with_the_server(fleet: OpenFleet) -> None:
    lines: list[str] = []
    opened = threading.Event()

    def listen() -> None:
        with fleet.client("observe") as client, client.stream("GET", "/events") as stream:
            for line in stream.iter_lines():
                lines.append(line)
                opened.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert opened.wait(5.0)
    fleet.coordinator.stop(None, by="test")
    until(lambda: "event: stop-pressed" in lines)
    began_s = time.monotonic()
    fleet.server.close()
    listener.join(timeout=5.0)
    assert not listener.is_alive()
    assert time.monotonic() - began_s < 5.0


def test_memory_says_where_by_whom_and_how_sure(fleet: OpenFleet) -> None:
    now_s = time.time()
    for age_s, x in ((100.0, 1.0), (10.0, 3.0)):
        seen = Sighting(
            entity="red-cube",
            by="camera-1",
            time_s=now_s - age_s,
            pose=(x, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0),
            sigma_m=0.01,
        )
        fleet.memory.take((seen,))
    with fleet.client("observe") as client:
        found = client.get("/memory/red-cube", params={"at_s": now_s - 50.0}).json()
        assert found["where"]["position_m"] == [3.0, 0.0, 0.5]
        assert found["where"]["seen_by"] == "camera-1"
        assert found["where"]["unseen_for_s"] == pytest.approx(10.0, abs=5.0)
        assert found["was"]["position_m"] == [1.0, 0.0, 0.5]
        assert client.get("/memory/north").json()["where"] is None
        missing = client.get("/memory/red-cub")
        assert missing.status_code == 404
        assert "did you mean 'red-cube'" in missing.json()["message"]
        assert len(client.get("/memory").json()["things"]) == 7


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"instruction": NaN}', 400),
        (b'{"instruction": "ring \\ud800"}', 400),
        (b'{"instruction": "ring \xed\xa0\x80"}', 400),
        (b'{"ring \\ud800": "north"}', 400),
        (b'{"instruction": "ring north", "deadline_s": 1e999}', 400),
        (b'{"instruction": "ring north", "deadline_s": 1%s}' % (b"0" * 400), 400),
        (b'{"graph": {"steps": [{"id": "s", "skill": "ring", "deadline_s": 1e999}]}}', 400),
        (b'{"graph": {"steps": [{"id": "s", "skill": "ring", "values": {"a": -1e999}}]}}', 400),
        (b'{"graph": {"reading": ["\\udfff"], "steps": []}}', 400),
        (b'{"instruction": 7}', 400),
        (b'{"instruction": "ring north", "priority": 1}', 400),
        (b'{"instruction": "ring north", "deadline_s": 0}', 400),
        (b'{"instruction": "ring north", "deadline_s": "soon"}', 400),
        (b"", 400),
        (b'{"instruction": "  "}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'"' + b"x" * LARGEST_BODY_BYTES, 413),
    ],
)
def test_a_body_that_is_not_as_expected_is_refused(
    fleet: OpenFleet, body: bytes, code: int
) -> None:
    with fleet.client("operate") as client:
        answer = client.post("/tasks", content=body)
        assert answer.status_code == code
        assert set(answer.json()) == {"error", "message"}
    assert not fleet.coordinator.look_at(lambda s: s.tasks)


@pytest.mark.parametrize(
    "path",
    [
        "/tasks?limit=0",
        "/tasks?limit=x",
        "/tasks?status=lost",
        "/tasks?colour=red",
        "/tasks/none/result?wait_s=nan",
        "/tasks/none/result?wait_s=1e9",
        "/memory/red-cube?at_s=inf",
        "/events?since=x",
    ],
)
def test_a_query_that_is_not_as_expected_is_refused(fleet: OpenFleet, path: str) -> None:
    with fleet.client("observe") as client:
        assert client.get(path).status_code == 400


def test_what_is_not_there_is_said_in_the_same_form(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client:
        for method, path, code in (
            ("GET", "/tasks/t-none", 404),
            ("POST", "/tasks/t-none/cancel", 404),
            ("GET", "/nothing", 404),
            ("DELETE", "/tasks", 405),
        ):
            answer = client.request(method, path)
            assert answer.status_code == code
            assert set(answer.json()) == {"error", "message"}


def test_plain_curl_drives_the_fleet(fleet: OpenFleet) -> None:
    def curl(*arguments: str) -> str:
        token = fleet.access.tokens["operate"]
        command = ["curl", "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {token}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    url = fleet.server.url
    asked = json.loads(curl(f"{url}/tasks", "-d", '{"instruction": "ring north"}'))
    result = json.loads(curl(f"{url}/tasks/{asked['task']}/result?wait_s=20"))
    assert result["outcome"] == "succeeded"


def test_a_dead_coordinator_is_said_and_the_stop_goes_out_nevertheless(fleet: OpenFleet) -> None:
    fleet.coordinator.close()
    with fleet.client("operate") as client:
        answer = client.post("/tasks", json={"instruction": "ring north"})
        assert (answer.status_code, answer.json()["error"]) == (503, "not-written")
        assert client.post("/stop").status_code == 503
    until(lambda: fleet.runner.latched)


def test_only_this_machine_unless_others_are_meant(fleet: OpenFleet) -> None:
    with pytest.raises(InvalidConfig, match="other machines"):
        ServerSettings(host="0.0.0.0")
    with pytest.raises(InvalidConfig, match="other machines"):
        ServerSettings(host="fleet.example")
    app = make_app(fleet.coordinator, fleet.memory, fleet.access, fleet.journal)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidConfig, match="choose another port"):
            serve(app, ServerSettings(port=taken.getsockname()[1]))
