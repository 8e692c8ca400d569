from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from register_site import Site, deployment

from loopwright.core.errors import Grounded, Untrusted
from loopwright.safety.decision import Reason
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.lease import lease_path
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import release
from loopwright.safety.directive.tower import Tower
from loopwright.safety.directive.watch import DirectiveWatch, WatchConfig
from loopwright.safety.register import CHAIN_NAME, EPOCH_NAME, Register
from loopwright.safety.statement import Signed, Statement

CELL = deployment("cell-1")


@dataclass
class Hands:
    """Clocks that are moved by hand."""

    boot_s: float = 1000.0
    day_s: float = 1_700_000_000.0

    def since_boot_s(self) -> float:
        return self.boot_s

    def wall_s(self) -> float:
        return self.day_s


class Field:
    """A site with a tower and one deployment, moved step by step."""

    def __init__(self, folder: Path, cell: Deployment = CELL, **config: Any) -> None:
        self.site, self.hands, self.tower_hands = Site(folder), Hands(), Hands()
        self.cell, self.config = cell, {"background": False, **config}
        self.register = self.site.begin()
        self.register.append(self.site.deployed(self.register, cell))
        self.tower = self.new_tower()
        self.watch = self.new_watch()

    def new_tower(self) -> Tower:
        return Tower(
            self.site.place, self.site.ring, self.site.keys["tower"], clock=self.tower_hands
        )

    def new_watch(self) -> DirectiveWatch:
        config = WatchConfig(**self.config)
        return DirectiveWatch(self.site.place, self.site.ring, self.cell, config, clock=self.hands)

    def wait(self, seconds: float, *, tower: bool = True) -> None:
        for _ in range(round(seconds / 0.5)):
            self.hands.boot_s += 0.5
            if tower:
                self.tower.turn()
            self.watch.poll()

    def state(self) -> str:
        return self.watch.poll().state

    def order(self, **changes: Any) -> str:
        signed = self.site.directive(self.register, **changes)
        self.register.append(signed)
        return signed.statement.digest


@pytest.fixture
def field(tmp_path: Path) -> Field:
    field = Field(tmp_path)
    field.wait(1)
    assert field.state() == "clear"
    return field


def test_without_a_lease_nothing_moves(tmp_path: Path) -> None:
    field = Field(tmp_path)
    standing = field.watch.poll()
    assert (standing.state, standing.reason) == ("grounded", Reason.LEASE)
    with pytest.raises(Grounded, match="tower"):
        standing.require()


def test_a_tower_keeps_a_deployment_moving(field: Field) -> None:
    for _ in range(20):
        field.wait(10)
        assert field.state() == "clear"


def test_a_silent_tower_stops_it_when_the_lease_ends(field: Field) -> None:
    field.wait(28, tower=False)
    assert field.state() == "clear"
    field.wait(3, tower=False)
    assert field.watch.poll().reason is Reason.LEASE
    field.wait(11)
    assert field.state() == "clear"


def test_a_directive_grounds_at_the_next_poll(field: Field) -> None:
    field.order()
    standing = field.watch.poll()
    assert (standing.state, standing.reason) == ("grounded", Reason.GROUNDED)
    assert "gripper" in standing.detail
    field.wait(100)  # leases go on, and change nothing
    assert field.state() == "grounded"


def test_others_are_not_stopped(tmp_path: Path) -> None:
    field = Field(tmp_path, deployment("cell-2", robot="sawyer-v1"))
    field.wait(1)
    field.order()
    assert field.state() == "clear"


def test_a_release_lets_it_move_again(field: Field) -> None:
    digest = field.order()
    assert field.state() == "grounded"
    field.register.append(shown := field.site.evidence())
    done = release(field.register.id, digest, evidence=[shown.statement.digest])
    field.register.append(field.site.signed(done, "authority"))
    assert field.state() == "clear"


def test_a_restriction_grounds_a_filter_that_does_not_keep_it(field: Field, tmp_path: Path) -> None:
    limits = {"point_speed_m_s": 0.1}
    field.order(action="restrict", limits=limits)
    standing = field.watch.poll()
    assert standing.state == "grounded"
    assert standing.restrictions == (limits,)
    field.config["obeys"] = standing.restrictions
    field.watch = field.new_watch()
    field.wait(1)
    assert field.state() == "restricted"
    assert field.watch.poll().may_move


def test_setting_clocks_back_or_forth_lengthens_no_lease(field: Field) -> None:
    for jump_s in (-1e6, 2e6, -1e6):
        field.hands.day_s += jump_s
        field.tower_hands.day_s += jump_s
        field.wait(9, tower=False)
    field.wait(4, tower=False)
    assert field.watch.poll().reason is Reason.LEASE


def test_a_clock_set_back_does_not_postpone_an_inspection(field: Field) -> None:
    now_s = field.hands.day_s
    field.order(action="inspect", closing_action="look at it", comply_by_s=now_s + 60)
    assert field.state() == "clear"
    field.hands.day_s -= 86_400
    field.tower_hands.day_s += 61
    field.wait(12)
    assert field.state() == "grounded"


def test_an_old_answer_renews_nothing(field: Field) -> None:
    path = lease_path(field.site.place, "cell-1")
    old = path.read_bytes()
    for _ in range(70):
        path.write_bytes(old)
        field.wait(0.5, tower=False)
    assert field.watch.poll().reason is Reason.LEASE


def test_only_a_tower_answers(field: Field) -> None:
    path = lease_path(field.site.place, "cell-1")
    for _ in range(70):
        field.hands.boot_s += 0.5
        field.tower.turn()
        answer = Signed.from_json(json.loads(path.read_bytes()))
        path.write_text(json.dumps(field.site.signed(answer.statement, "operator").to_json()))
        field.watch.poll()
    assert field.watch.poll().reason is Reason.LEASE
    with pytest.raises(Untrusted, match="tower"):
        Tower(field.site.place, field.site.ring, field.site.keys["operator"])


def test_a_tower_refuses_what_no_operator_registered(tmp_path: Path) -> None:
    field = Field(tmp_path)
    for cell in (deployment("cell-3"), deployment("cell-1", scenario="push-v1")):
        field.cell = cell
        field.watch = field.new_watch()
        field.wait(20)
        standing = field.watch.poll()
        assert (standing.state, standing.reason) == ("grounded", Reason.LEASE)
        assert "register" in standing.detail


def test_an_unreachable_register_stops_it_when_the_lease_ends(field: Field) -> None:
    field.site.place.rename(field.site.folder / "unmounted")
    field.wait(28, tower=False)
    assert field.state() == "clear"
    field.wait(3, tower=False)
    assert field.watch.poll().reason is Reason.LEASE


def test_a_register_put_back_grounds_at_once(field: Field, tmp_path: Path) -> None:
    early = tmp_path / "early"
    shutil.copytree(field.site.place, early)
    field.order(match=Match(any_of=(Clause(robot=("sawyer-v1",)),)))
    assert field.state() == "clear"
    shutil.rmtree(field.site.place)
    early.rename(field.site.place)
    field.wait(1, tower=False)
    standing = field.watch.poll()
    assert standing.reason is Reason.GROUNDED
    assert "rolled back" in standing.detail


def test_an_epoch_put_back_grounds(field: Field) -> None:
    path = field.site.place / EPOCH_NAME
    with path.open("r+b") as file:
        file.write(bytes(8))
    assert "went back" in field.watch.poll().detail
    path.unlink()
    path.write_bytes((1).to_bytes(8, "little"))
    field.wait(1)
    assert field.state() == "clear"


def test_a_new_epoch_file_does_not_hide_a_directive(field: Field) -> None:
    path = field.site.place / EPOCH_NAME
    frozen = path.read_bytes()
    path.unlink()
    path.write_bytes(frozen)
    field.order()
    field.wait(1, tower=False)
    assert field.state() == "grounded"


def test_a_register_that_hides_a_directive_from_one_deployment_gets_no_lease(
    field: Field, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    shutil.copytree(field.site.place, private)
    field.order()
    field.watch = DirectiveWatch(
        private, field.site.ring, CELL, WatchConfig(background=False), clock=field.hands
    )
    for _ in range(80):  # somebody carries questions and answers between the two
        asked = private / "leases" / "cell-1.ask"
        if asked.exists():
            shutil.copy(asked, field.site.place / "leases" / "cell-1.ask")
        field.wait(0.5)
        answer = lease_path(field.site.place, "cell-1")
        if answer.exists():
            shutil.copy(answer, lease_path(private, "cell-1"))
        assert field.state() == "grounded"


def test_an_epoch_without_its_entry_stops_nobody_and_is_looked_into(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Register, "_write", killed)
        with pytest.raises(KilledError):
            field.order()
    field.wait(5)
    assert field.state() == "clear"
    field.order()
    assert field.state() == "grounded"


def test_tampering_grounds_at_once(field: Field) -> None:
    field.register.append(field.site.evidence())
    path = field.site.place / CHAIN_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes(20) + whole)
    field.wait(1, tower=False)
    assert field.watch.poll().reason is Reason.GROUNDED


def certified(field: Field, expires_s: float) -> str:
    certificate = Statement(
        kind="certificate/v1", subjects={}, predicate={"level": "D", "expires_s": expires_s}
    )
    field.register.append(field.site.signed(certificate, "proposer", "approver"))
    field.cell = deployment("cell-1", certificate=certificate.digest)
    field.register.append(field.site.deployed(field.register, field.cell))
    field.watch = field.new_watch()
    field.wait(1)
    return certificate.digest


def test_a_suspended_certificate_grounds(field: Field) -> None:
    digest = certified(field, field.hands.day_s + 1e6)
    assert field.state() == "clear"
    suspension = Statement(
        kind="suspension/v1", subjects={}, predicate={"certificate": digest, "reason": "it failed"}
    )
    field.register.append(field.site.signed(suspension, "authority"))
    assert "suspended" in field.watch.poll().detail


def test_an_expired_certificate_grounds(field: Field) -> None:
    certified(field, field.hands.day_s + 60)
    assert field.state() == "clear"
    field.hands.day_s += 61
    field.wait(1)
    assert "expired" in field.watch.poll().detail


@contextmanager
def running(field: Field) -> Iterator[None]:
    stop = threading.Event()
    tower = Tower(field.site.place, field.site.ring, field.site.keys["tower"], lease_s=2.0)
    thread = threading.Thread(target=tower.run, args=(stop,), kwargs={"period_s": 0.05})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        tower.close()


def until(watch: DirectiveWatch, state: str, within_s: float) -> float:
    began_s = time.monotonic()
    while watch.poll().state != state:
        time.sleep(0.01)
        assert time.monotonic() - began_s < within_s, watch.poll()
    return time.monotonic() - began_s


def test_with_real_clocks_and_a_thread(tmp_path: Path) -> None:
    field = Field(tmp_path)
    watch = DirectiveWatch(field.site.place, field.site.ring, CELL, WatchConfig(lease_s=2.0))
    try:
        with running(field):
            until(watch, "clear", 5)
            for _ in range(30):
                time.sleep(0.1)
                assert watch.poll().may_move
        until(watch, "grounded", 3.5)
        assert watch.poll().reason is Reason.LEASE
        with running(field):
            until(watch, "clear", 5)
            field.order()
            until(watch, "grounded", 2)
            assert watch.poll().reason is Reason.GROUNDED
    finally:
        watch.close()


def test_what_a_deployment_remembers_outlives_it(tmp_path: Path) -> None:
    field = Field(tmp_path, memory=tmp_path / "memory")
    early = tmp_path / "early"
    shutil.copytree(field.site.place, early)
    field.order()
    assert field.state() == "grounded"
    field.watch.close()
    shutil.rmtree(field.site.place)
    os.rename(early, field.site.place)
    with pytest.raises(Untrusted, match="rolled back"):
        field.new_watch()


def test_links_and_pipes_among_the_leases_harm_nobody(field: Field, tmp_path: Path) -> None:
    leases = field.site.place / "leases"
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    os.mkfifo(leases / "pipe.ask")
    (leases / "link.ask").symlink_to(victim)
    (leases / "cell-1.lease").unlink()
    (leases / "cell-1.lease").symlink_to(victim)
    field.wait(60)
    assert field.state() == "clear"
    assert victim.read_text() == "untouched"
