"""Sealed frames: what is forged, stale or heard before is heard by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.robot import messages as say
from loopwright.robot.wires.sealing import FRESH_S, Rejected, Sealer, Unsealer
from loopwright.robot.wires.secret import FleetSecret

SECRET = FleetSecret(bytes(range(32)))
NOW_S = 1_800_000_000.0


def sealer(secret: FleetSecret = SECRET, at_s: float = NOW_S) -> Sealer:
    return Sealer(secret, "r1", clock=lambda: at_s)


def flaw(unsealer: Unsealer, frame: bytes, at_s: float = NOW_S) -> str:
    with pytest.raises(Rejected) as caught:
        unsealer.open(frame, arrived_s=at_s)
    return caught.value.flaw


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_a_forgery(place: int, bit: int) -> None:
    frame = bytearray(sealer().seal("fleet/reports", say.Stop(by="r1")))
    frame[place % len(frame)] ^= 1 << bit
    assert flaw(Unsealer(SECRET, "fleet/reports"), bytes(frame)) == "forged"


@given(st.binary(max_size=200))
def test_noise_is_a_forgery(frame: bytes) -> None:
    assert flaw(Unsealer(SECRET, "fleet/reports"), frame) == "forged"


def test_a_stranger_and_another_topic_are_forgeries() -> None:
    frame = sealer(FleetSecret(b"x" * 32)).seal("fleet/reports", say.Stop(by="r1"))
    assert flaw(Unsealer(SECRET, "fleet/reports"), frame) == "forged"
    frame = sealer().seal("fleet/robots/r1/orders", say.Stop(by="r1"))
    assert flaw(Unsealer(SECRET, "fleet/robots/r2/orders"), frame) == "forged"


@given(st.lists(st.integers(0, 9), max_size=40))
def test_recordings_played_in_any_order_are_heard_once_and_forwards(order: list[int]) -> None:
    speaker = sealer()
    frames = [speaker.seal("t", say.CoordinatorPulse(epoch=n)) for n in range(10)]
    unsealer = Unsealer(SECRET, "t")
    newest = -1
    for number in order:
        if number <= newest:
            assert flaw(unsealer, frames[number]) == "replayed"
        else:
            _, message = unsealer.open(frames[number], arrived_s=NOW_S)
            assert message == say.CoordinatorPulse(epoch=number)
            newest = number


@given(st.lists(st.floats(0.0, 3 * FRESH_S), max_size=20))
def test_what_was_forgotten_is_too_old_to_be_heard_again(waits_s: list[float]) -> None:
    first, unsealer = sealer().seal("t", say.Stop(by="r1")), Unsealer(SECRET, "t")
    unsealer.open(first, arrived_s=NOW_S)
    now_s = NOW_S
    for wait_s in waits_s:
        now_s += wait_s
        # Others go on talking, so that the first life is forgotten at some time.
        unsealer.open(sealer(at_s=now_s).seal("t", say.Stop(by="r2")), arrived_s=now_s)
        assert flaw(unsealer, first, now_s) in ("replayed", "stale")


def test_lives_are_forgotten_so_that_memory_stays_small() -> None:
    unsealer = Unsealer(SECRET, "t")
    for second in range(1000):
        at_s = NOW_S + second
        unsealer.open(sealer(at_s=at_s).seal("t", say.Stop(by="r1")), arrived_s=at_s)
    assert len(unsealer._newest) < 4 * FRESH_S


def test_a_sealed_thing_that_is_no_message_is_said_to_be_malformed() -> None:
    class Odd(say.Stop):
        KIND = "unheard-of"

    assert flaw(Unsealer(SECRET, "t"), sealer().seal("t", Odd(by="r1"))) == "malformed"


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
