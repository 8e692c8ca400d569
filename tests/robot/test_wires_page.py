"""The page of a fleet: open but empty, strict about what runs, and right in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx
import pytest
from browser_pipe import NEEDS_BROWSER, Browser, browser
from wires_fleet import OpenFleet, open_fleet

from loopwright.robot.drivers.warehouse.painter import encode_jpeg
from loopwright.robot.knowledge import NoPicture
from loopwright.robot.sighting import Sighting
from loopwright.robot.wires import page

FILES = resources.files("loopwright.robot.wires").joinpath("page_files")
ATTACK = "<img src=x onerror=window.injected=true>"


class TwoCameras:
    """One that sees, and one that is broken."""

    names = ("hall", "broken")

    def picture(self, name: str) -> bytes:
        import numpy as np

        if name == "broken":
            raise NoPicture("the lens is off")
        return encode_jpeg(np.full((36, 48, 3), 128, np.uint8))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    with open_fleet(tmp_path, cameras=TwoCameras()) as fleet:
        yield fleet


def test_the_page_is_open_holds_nothing_and_runs_nothing_foreign(fleet: OpenFleet) -> None:
    secrets = [*fleet.access.tokens.values(), "r1", "red-cube"]
    with fleet.client(None) as stranger:
        for path in page._FILES:
            answer = stranger.get(path)
            assert answer.status_code == 200, path
            assert not [s for s in secrets if s in answer.text]
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "script-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert stranger.post(path).status_code == 401
        for path in ("/page/", "/page", "/page/page.html", "/page/../desk.py", "/page%2fpage.js/"):
            assert stranger.get(path).status_code == 401, path


def test_no_file_of_the_page_writes_markup_or_reaches_outside() -> None:
    html = FILES.joinpath("page.html").read_text()
    assert re.findall(r"<script[^>]*>", html) == ['<script type="module" src="/page/page.js">']
    assert not re.search(r"\son\w+=|\sstyle=|<style|https?://", html)
    for name, _ in page._FILES.values():
        text = FILES.joinpath(name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert not re.sub(r"http://www\.w3\.org/2000/svg", "", text).count("//www")
        assert "localStorage" not in text


def test_the_palette_is_that_of_the_reports() -> None:
    def palette(text: str) -> list[tuple[str, str]]:
        names = ["paper", "surface", "ink", "soft", "line", "good", "bad", "warn"]
        return [(n, v) for n, v in re.findall(r"--(\w+): (#\w+);", text) if n in names]

    reports = resources.files("loopwright.report").joinpath("base.css").read_text()
    assert palette(FILES.joinpath("page.css").read_text()) == palette(reports)


def test_a_glance_tells_what_the_token_may_and_why_a_robot_is_stopped(fleet: OpenFleet) -> None:
    with fleet.client("operate") as client, fleet.client("observe") as viewer:
        assert viewer.get("/fleet").json()["may"] == ["observe"]
        first = client.get("/fleet").json()
        assert (first["role"], first["may"]) == ("operate", ["observe", "operate"])
        assert first["cameras"] == ["hall", "broken"]
        client.post("/stop", json={"robot": "r1"})
        robot = client.get("/fleet").json()["robots"][0]
        assert (robot["stopped"], robot["stopped_by"]) == (True, "operate over http")
        events = [event["says"] for event in stored(fleet, client)]
        assert "stop of r1 by operate over http" in events


def stored(fleet: OpenFleet, client: httpx.Client) -> list[dict]:
    import json

    found: list[dict] = []
    with client.stream("GET", "/events", params={"since": 0}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if found and found[-1]["number"] >= fleet.coordinator.look_at(lambda s: s.number):  # type: ignore[operator]
                return found
    return found


def test_a_camera_shows_a_picture_or_says_why_not(fleet: OpenFleet) -> None:
    with fleet.client("observe") as client:
        assert client.get("/cameras").json() == {"cameras": ["hall", "broken"]}
        picture = client.get("/cameras/hall")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert picture.content[:2] == b"\xff\xd8"
        broken = client.get("/cameras/broken")
        assert broken.status_code == 503
        assert broken.json() == {"error": "no-picture", "message": "the lens is off"}
        assert "did you mean 'hall'" in client.get("/cameras/hal").json()["message"]


class TestInABrowser:
    """Slow: Chromium starts for each."""

    pytestmark = NEEDS_BROWSER

    @pytest.fixture
    def tab(self, tmp_path: Path) -> Iterator[Browser]:
        with browser(tmp_path) as tab:
            yield tab

    def come_in(self, fleet: OpenFleet, tab: Browser, role: str = "operate") -> None:
        token = fleet.access.tokens[role]  # type: ignore[index]
        tab.open(f"{fleet.server.url}/#token={token}")
        tab.until("document.querySelectorAll('#robots li').length === 1")

    def test_a_token_is_asked_for_once_and_is_never_part_of_an_address(
        self, fleet: OpenFleet, tab: Browser
    ) -> None:
        tab.open(f"{fleet.server.url}/")
        assert tab.until("!document.getElementById('door').hidden")
        assert not [a for a in tab.asked if "/fleet" in a]
        tab.write("#token", "x" * 40)
        tab.click("#door-form button")
        tab.until("document.getElementById('door-said').textContent.includes('does not know')")
        token = fleet.access.tokens["operate"]
        tab.write("#token", token)
        tab.click("#door-form button")
        tab.until("document.querySelectorAll('#robots li').length === 1")
        tab.call("Page.reload")
        tab.until("document.querySelectorAll('#robots li').length === 1")
        self.come_in(fleet, tab)
        tab.until("!location.href.includes('#')")
        assert not [address for address in tab.asked if token in address.partition("#")[0]]
        assert all(address.startswith((fleet.server.url, "blob:")) for address in tab.asked)
        tab.click("#leave")
        assert tab.until("!document.getElementById('door').hidden")
        assert tab.see("sessionStorage.length") == 0

    def test_what_is_asked_is_drawn_and_what_is_named_badly_does_not_run(
        self, fleet: OpenFleet, tab: Browser
    ) -> None:
        fleet.runner.lasts_s = 0.5
        here = (1.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0)
        fleet.memory.take(
            (Sighting(entity="red-cube", by=ATTACK, time_s=time.time(), pose=here, sigma_m=0.3),)
        )
        self.come_in(fleet, tab)
        tab.write("#instruction", "ring north south")
        tab.click("#ask-button")
        tab.until("document.querySelectorAll('.step').length === 2")
        tab.until("document.querySelectorAll('.arrow').length === 1")
        tab.until("document.querySelectorAll('.step.good').length === 2")
        tab.write("#instruction", ATTACK)
        tab.click("#ask-button")
        tab.until("document.querySelectorAll('.task').length === 2")
        tab.until("document.querySelector('.task h3').textContent.startsWith('<img')")
        tab.until("document.querySelector('.badge.bad') !== null")
        journal = tab.see("document.getElementById('journal').textContent")
        assert "r1 begins to move" in journal
        assert ATTACK in journal
        assert tab.see("document.querySelectorAll('.doubt').length") == 1
        tab.until("document.getElementById('camera').naturalWidth === 48")
        assert tab.see("window.injected === undefined && document.images.length === 1")
        assert tab.see("document.documentElement.scrollWidth <= innerWidth")
        assert tab.complaints == []

    def test_the_stop_button_stops_and_says_who_did(self, fleet: OpenFleet, tab: Browser) -> None:
        fleet.runner.lasts_s = 60.0
        fleet.coordinator.ask("ring north", by="ann")
        self.come_in(fleet, tab)
        tab.until("document.querySelector('#robots li.busy') !== null")
        tab.click("#stop")
        tab.until("document.querySelector('#robots li.stopped') !== null")
        assert fleet.runner.latched
        said = tab.until("document.getElementById('stopped').textContent")
        assert said.startswith("The fleet is stopped (operate over http)")
        assert "loopwright robot release --note" in said

    def test_a_fleet_that_nobody_directs_is_not_shown_as_well(
        self, fleet: OpenFleet, tab: Browser
    ) -> None:
        self.come_in(fleet, tab)
        tab.until("document.querySelector('#robots li.idle') !== null")
        fleet.break_disk()
        tab.until("document.querySelector('#robots li.undirected') !== null")
        said = tab.see("document.getElementById('trouble').textContent")
        assert said.startswith("Nobody directs the fleet: the coordinator has stopped: the disk is")
        assert tab.see("document.getElementById('standing').textContent").startswith("0 of 1")
        assert tab.complaints == []

    def test_one_robot_is_stopped_by_its_own_button(self, fleet: OpenFleet, tab: Browser) -> None:
        self.come_in(fleet, tab)
        tab.click("#robots button")
        tab.until("document.querySelector('#robots li.stopped') !== null")
        assert fleet.coordinator.look_at(lambda s: list(s.stops)) == ["r1"]  # type: ignore[arg-type]

    def test_who_may_only_look_is_told_so(self, fleet: OpenFleet, tab: Browser) -> None:
        fleet.runner.lasts_s = 60.0
        fleet.coordinator.ask("ring north", by="ann")
        self.come_in(fleet, tab, role="observe")
        tab.until("document.querySelector('.acts button') !== null")
        buttons = "#stop, #ask-button, #instruction, #robots button, .acts button"
        shown = f"[...document.querySelectorAll({buttons!r})]"
        assert tab.see(f"{shown}.every((b) => b.disabled && b.title.includes('role operate'))")
        assert "may look" in tab.see("document.getElementById('rights').textContent")
        tab.click("#stop")
        assert not fleet.coordinator.look_at(lambda s: s.stops)

    def test_a_fleet_that_is_gone_is_not_shown_as_if_it_were_there(
        self, fleet: OpenFleet, tab: Browser
    ) -> None:
        self.come_in(fleet, tab)
        fleet.server.close()
        tab.until("document.getElementById('trouble').textContent.includes('does not answer')")
        tab.until("document.getElementById('shown').classList.contains('old')")
        tab.click("#stop")
        tab.until("document.getElementById('trouble').textContent.includes('may not have gone')")
