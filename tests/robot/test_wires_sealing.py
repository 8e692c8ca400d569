"""Sealed frames: what is forged, stale, heard before or another's to say is heard by nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.robot import messages as say
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.wires.membership import Membership, enrol
from loopwright.robot.wires.rights import MAY_SAY
from loopwright.robot.wires.sealing import FRESH_S, Rejected, Sealer, Unsealer
from loopwright.robot.wires.secret import FleetSecret
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

SECRET = FleetSecret(bytes(range(32)))
NOW_S = 1_800_000_000.0
WHO: dict[str, Role] = {
    "coordinator": "coordinator",
    "r1": "robot",
    "r2": "robot",
    "camera-1": "camera",
    "ada": "operator",
    "recorder": "recorder",
}
KEYS = {name: SigningKey.new() for name in WHO}
RING = KeyRing(
    Holder(person=name, public=KEYS[name].public, roles=frozenset({role}))
    for name, role in WHO.items()
)
PULSE = say.CoordinatorPulse(epoch=1)


def sealer(*names: str, at_s: float = NOW_S) -> Sealer:
    keys = tuple(KEYS[name] for name in names or ("r1",))
    return Sealer(Membership(secret=SECRET, ring=RING, keys=keys), clock=lambda: at_s)


def unsealer(topic: str = "t") -> Unsealer:
    return Unsealer(RING, topic)


def flaw(unsealer: Unsealer, frame: bytes, at_s: float = NOW_S) -> str:
    with pytest.raises(Rejected) as caught:
        unsealer.open(frame, arrived_s=at_s)
    return caught.value.flaw


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_a_forgery(place: int, bit: int) -> None:
    frame = bytearray(sealer().seal("fleet/reports", say.Stop(by="r1")))
    frame[place % len(frame)] ^= 1 << bit
    assert flaw(unsealer("fleet/reports"), bytes(frame)) == "forged"


@given(st.binary(max_size=200))
def test_noise_is_a_forgery(frame: bytes) -> None:
    assert flaw(unsealer("fleet/reports"), frame) == "forged"


def test_a_stranger_and_another_topic_are_forgeries() -> None:
    key = SigningKey.new()
    ring = KeyRing([Holder(person="r1", public=key.public, roles=frozenset({"robot"}))])
    stranger = Sealer(Membership(secret=SECRET, ring=ring, keys=(key,)), clock=lambda: NOW_S)
    frame = stranger.seal("fleet/reports", say.Stop(by="r1"))
    assert flaw(unsealer("fleet/reports"), frame) == "forged"
    frame = sealer().seal("fleet/robots/r1/orders", say.Stop(by="r1"))
    assert flaw(unsealer("fleet/robots/r2/orders"), frame) == "forged"


@given(st.lists(st.integers(0, 9), max_size=40))
def test_recordings_played_in_any_order_are_heard_once_and_forwards(order: list[int]) -> None:
    speaker = sealer("coordinator")
    frames = [speaker.seal("t", say.CoordinatorPulse(epoch=n)) for n in range(10)]
    ear = unsealer()
    newest = -1
    for number in order:
        if number <= newest:
            assert flaw(ear, frames[number]) == "replayed"
        else:
            message = ear.open(frames[number], arrived_s=NOW_S)
            assert message == say.CoordinatorPulse(epoch=number)
            newest = number


@given(st.lists(st.floats(0.0, 3 * FRESH_S), max_size=20))
def test_what_was_forgotten_is_too_old_to_be_heard_again(waits_s: list[float]) -> None:
    first, ear = sealer().seal("t", say.Stop(by="r1")), unsealer()
    ear.open(first, arrived_s=NOW_S)
    now_s = NOW_S
    for wait_s in waits_s:
        now_s += wait_s
        # Others go on talking, so that the first life is forgotten at some time.
        ear.open(sealer("r2", at_s=now_s).seal("t", say.Stop(by="r2")), arrived_s=now_s)
        assert flaw(ear, first, now_s) in ("replayed", "stale")


def test_lives_are_forgotten_so_that_memory_stays_small() -> None:
    ear = unsealer()
    for second in range(1000):
        at_s = NOW_S + second
        ear.open(sealer(at_s=at_s).seal("t", say.Stop(by="r1")), arrived_s=at_s)
    assert len(ear._newest) < 4 * FRESH_S


def test_a_sealed_thing_that_is_no_message_is_said_to_be_malformed() -> None:
    class Odd(say.Stop):
        KIND = "unheard-of"

    assert flaw(unsealer(), sealer().seal("t", Odd(by="r1"))) == "malformed"


def signed(body: bytes) -> bytes:
    """Return what r1 has signed, who may sign what no sealer would."""
    return bytes.fromhex(KEYS["r1"].id) + KEYS["r1"].sign(b"loopwright bus\n" + body) + body


REPORTS: Sequence[say.Message] = (
    say.Joined(robot="r1", incarnation="1", coordinator_epoch=1, parts=(), skills=()),
    say.RobotPulse(robot="r1", incarnation="1", running=(), held=""),
    say.Started(robot="r1", intent="i"),
    say.Ended(robot="r1", intent="i", claim="finished", reason="", lasted_s=0.0),
    say.Standing(robot="r1", intent="i", standing="running"),
    say.Seen(by="r1", sightings=()),
)
ORDERS: Sequence[say.Message] = (
    PULSE,
    say.Welcome(coordinator_epoch=1, robot_epoch=1, incarnation="1"),
    say.RunSkill(
        coordinator_epoch=1,
        robot_epoch=1,
        intent="i",
        trace="",
        skill="s",
        values={},
        longest_s=1.0,
    ),
    say.CancelSkill(coordinator_epoch=1, intent="i", reason=""),
    say.Inquire(coordinator_epoch=1, intent="i"),
    say.Look(coordinator_epoch=1),
    say.Release(by="ada", signature="[]"),
)


def hears(who: str, message: say.Message) -> bool:
    frame = sealer(who).seal("t", message)
    try:
        return unsealer().open(frame, arrived_s=NOW_S) == message
    except Rejected as error:
        if error.flaw != "not-allowed":
            raise
        return False


def test_every_message_is_somebodys_to_say() -> None:
    assert {type(m) for m in (*REPORTS, *ORDERS)} | {say.Stop} == set(say.MESSAGES.values())
    assert {kind for kinds in MAY_SAY.values() for kind in kinds} == set(say.MESSAGES.values())


@pytest.mark.parametrize("message", ORDERS, ids=lambda m: m.KIND)
def test_orders_are_the_coordinators_alone(message: say.Message) -> None:
    assert [who for who in WHO if hears(who, message)] == ["coordinator"]


@pytest.mark.parametrize("message", REPORTS, ids=lambda m: m.KIND)
def test_reports_are_the_robots_own(message: say.Message) -> None:
    assert [who for who in WHO if hears(who, message)] == ["r1"]


def test_a_camera_sees_and_does_not_join_as_a_robot() -> None:
    assert hears("camera-1", say.Seen(by="camera-1", sightings=()))
    assert not hears("camera-1", say.Seen(by="r1", sightings=()))
    assert not hears("camera-1", say.Started(robot="camera-1", intent="i"))


def test_whoever_has_a_part_in_the_work_may_stop_it_in_its_own_name() -> None:
    assert [who for who in WHO if hears(who, say.Stop(by=who))] == [
        "coordinator",
        "r1",
        "r2",
        "ada",
    ]
    # The coordinator tells who pressed, over whichever door.
    assert [who for who in WHO if hears(who, say.Stop(by="r1"))] == ["coordinator", "r1"]


def test_a_process_with_keys_of_several_reports_in_each_name() -> None:
    process, ear = sealer("coordinator", "camera-1"), unsealer()
    for message in (PULSE, say.Seen(by="camera-1", sightings=()), say.Stop(by="camera-1")):
        assert ear.open(process.seal("t", message), arrived_s=NOW_S) == message


def test_nobody_uses_up_the_counter_of_another() -> None:
    honest, thief, ear = sealer("r1"), sealer("r2"), unsealer()
    thief.life = honest.life
    for _ in range(10):
        ear.open(thief.seal("t", say.Stop(by="r2")), arrived_s=NOW_S)
    ear.open(honest.seal("t", say.Stop(by="r1")), arrived_s=NOW_S)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b"\xff",
        b'{"life": "x", "topic": "t", "count": 1e999, "time_s": 1, "message": 1}',
        json.dumps({"life": 1, "topic": "t", "count": 1, "time_s": 10**400, "message": 1}).encode(),
        json.dumps({"life": [], "topic": "t", "count": 1, "time_s": NOW_S, "message": 1}).encode(),
        json.dumps(
            {"life": "", "topic": "t", "count": 1, "time_s": NOW_S, "message": {"kind": []}}
        ).encode(),
    ],
    ids=range(9),
)
def test_whatever_a_member_signs_is_malformed_at_worst(body: bytes) -> None:
    assert flaw(unsealer(), signed(body)) == "malformed"


@pytest.mark.parametrize("moment", ["NaN", "Infinity", "-1e999"])
def test_a_moment_that_is_no_number_is_stale(moment: str) -> None:
    body = f'{{"life": "x", "topic": "t", "count": 1, "time_s": {moment}, "message": 1}}'
    assert flaw(unsealer(), signed(body.encode())) == "stale"


def test_an_observer_and_a_key_off_the_ring_cannot_seal() -> None:
    with pytest.raises(Untrusted, match="needs a key"):
        Sealer(Membership(secret=SECRET, ring=RING)).seal("t", say.Stop(by="r1"))
    with pytest.raises(Untrusted, match="not on the key ring"):
        Sealer(Membership(secret=SECRET, ring=RING, keys=(SigningKey.new(),)))


def test_a_name_is_enrolled_once_and_in_one_role(tmp_path: Path) -> None:
    enrol(tmp_path, "operator", "operator")
    enrol(tmp_path, "robot", "r1")
    before = (tmp_path / "ring.json").read_bytes()
    enrol(tmp_path, "robot", "r1")
    assert (tmp_path / "ring.json").read_bytes() == before
    with pytest.raises(InvalidConfig, match="another name"):
        enrol(tmp_path, "robot", "operator")
    with pytest.raises(InvalidConfig, match="names no peer"):
        enrol(tmp_path, "robot", "../r2")
    # Where the private half lies elsewhere, no second key is trusted.
    (tmp_path / "keys" / "r1.key").unlink()
    enrol(tmp_path, "robot", "r1")
    with pytest.raises(DamagedData):
        Membership.read(tmp_path, "r1")


def test_a_key_that_was_taken_off_the_ring_stays_off_it(tmp_path: Path) -> None:
    enrol(tmp_path, "robot", "r1", "r2")
    ring = KeyRing.read(tmp_path / "ring.json")
    KeyRing([h for h in ring if h.person != "r1"]).write(tmp_path / "ring.json")
    with pytest.raises(Untrusted, match="another key"):
        enrol(tmp_path, "robot", "r1", "r2")
    with pytest.raises(Untrusted, match="not on the key ring"):
        Sealer(Membership.read(tmp_path, "r1"))
    (tmp_path / "keys" / "r1.key").unlink()
    enrol(tmp_path, "robot", "r1", "r2")
    Sealer(Membership.read(tmp_path, "r1"))


def test_a_site_does_not_trust_its_first_operator_again(tmp_path: Path) -> None:
    ada = Holder(person="ada", public=KEYS["ada"].public, roles=frozenset({"operator"}))
    site = FleetSite.open(tmp_path)
    KeyRing([ada]).write(site.ring)
    FleetSite.open(tmp_path).enrol(["r1"], ["camera-1"])
    assert {h.person for h in KeyRing.read(site.ring)} == {"ada", "coordinator", "r1", "camera-1"}


def test_a_secret_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = FleetSecret.create(path)
    assert FleetSecret.read(path) == made
    assert made.key.hex() not in repr(made)
    with pytest.raises(StorageError):
        FleetSecret.create(path)
    path.chmod(0o644)
    with pytest.raises(Untrusted, match="chmod 600"):
        FleetSecret.read(path)
    path.write_text("abc")
    with pytest.raises(DamagedData):
        FleetSecret.read(path)
    with pytest.raises(InvalidConfig):
        FleetSecret(b"short")
