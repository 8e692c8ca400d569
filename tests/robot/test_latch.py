"""The stop of a robot outlives its process, and ends by an operator's signature about it alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.robot.latch import StopLatch, read_stop, sign_release, write_releases
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

OPERATOR, RECORDER = SigningKey.new(), SigningKey.new()


def _holder(person: str, key: SigningKey, role: Role) -> Holder:
    return Holder(person=person, public=key.public, roles=frozenset({role}))


RING = KeyRing([_holder("ada", OPERATOR, "operator"), _holder("box", RECORDER, "recorder")])


def latch(folder: Path, robot: str = "arm-1") -> StopLatch:
    return StopLatch(folder / f"{robot}.stop", robot, RING)


def releases(folder: Path, key: SigningKey = OPERATOR, robot: str = "arm-1") -> str:
    stop = read_stop(folder / f"{robot}.stop", robot)
    assert stop
    return write_releases(sign_release(stop, key, "a box fell; it was taken away"))


def test_a_stop_outlives_the_process_that_latched_it(tmp_path: Path) -> None:
    latch(tmp_path).press("emergency stop by ada")
    again = latch(tmp_path)
    assert again.reason == "emergency stop by ada"
    holder = again.release(releases(tmp_path))
    assert holder
    assert holder.person == "ada"
    assert again.reason is None
    assert latch(tmp_path).reason is None


def test_only_an_operator_releases(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.press("stop")
    with pytest.raises(Untrusted):
        held.release(releases(tmp_path, RECORDER))
    with pytest.raises(Untrusted, match="not on the key ring"):
        held.release(releases(tmp_path, SigningKey.new()))
    for nonsense in ("", "{}", "[1]", "null"):
        with pytest.raises(DamagedData):
            held.release(nonsense)
    with pytest.raises(Untrusted, match="no release is about"):
        held.release("[]")
    assert held.reason == "stop"


def test_a_release_is_of_one_stop_of_one_robot(tmp_path: Path) -> None:
    held, other = latch(tmp_path), latch(tmp_path, "cart-1")
    held.press("stop")
    signed_before = releases(tmp_path)
    held.press("stop")
    other.press("stop")
    with pytest.raises(Untrusted):
        held.release(signed_before)
    with pytest.raises(Untrusted):
        other.release(releases(tmp_path))
    held.release(releases(tmp_path))
    held.press("stop")
    with pytest.raises(Untrusted):
        held.release(signed_before)


def test_an_altered_release_is_none(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.press("stop")
    stop = read_stop(held.path, "arm-1")
    assert stop
    (honest,) = json.loads(releases(tmp_path))
    (forged,) = json.loads(write_releases(sign_release(stop, SigningKey.new(), "nothing")))
    with pytest.raises(Untrusted, match="altered"):
        held.release(json.dumps([{**honest, "payload": forged["payload"]}]))
    assert held.reason == "stop"


def test_what_cannot_be_read_is_a_stop(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.press("stop")
    held.path.write_bytes(held.path.read_bytes()[:-9])
    assert "cannot be read" in (latch(tmp_path).reason or "")
    latch_of_torn = latch(tmp_path)
    latch_of_torn.release(releases(tmp_path))
    assert latch(tmp_path).reason is None


def test_a_stop_that_cannot_be_written_holds_in_the_process(tmp_path: Path) -> None:
    held = latch(tmp_path)
    (tmp_path / "arm-1.stop.partial").mkdir()
    with pytest.raises(StorageError):
        held.press("stop")
    assert held.reason == "stop"


def test_a_release_says_what_was_found(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.press("stop")
    stop = read_stop(held.path, "arm-1")
    assert stop
    with pytest.raises(InvalidConfig, match="what was found"):
        sign_release(stop, OPERATOR, "  ")
