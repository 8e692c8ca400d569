"""From a flight to an occurrence: what opens one, what is frozen, and what is refused."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trolley
from trolley import Ground, gently, into_the_wall, limits

from loopwright.core.errors import DamagedData, InvalidConfig, Unidentified, Untrusted
from loopwright.safety.blackbox import BlackBox, StepRecord, read_flight
from loopwright.safety.body import Measured, RobotEntry
from loopwright.safety.decision import Reason
from loopwright.safety.keys import SigningKey
from loopwright.safety.occurrence.configuration import Configuration, configuration_of
from loopwright.safety.occurrence.event import OpeningRule, find_events
from loopwright.safety.occurrence.evidence import LEAST_RETENTION_DAYS, EvidenceStore
from loopwright.safety.occurrence.opening import (
    FLIGHT,
    HEADS,
    Opened,
    make_scenario,
    open_occurrence,
    reopen,
    replay_exactly,
)
from loopwright.safety.occurrence.record import find_occurrence
from loopwright.safety.occurrence.script import script_of

NOW_S = 1_800_000_000.0


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.register.close()


def opened(ground: Ground, path: Path) -> Opened:
    found = open_occurrence(path, ground.site, now_s=NOW_S, heads=ground.heads)
    assert found is not None
    return found


def test_a_gentle_flight_opens_nothing(ground: Ground) -> None:
    path = ground.fly("gentle", gently, configuration=Configuration(limits=limits()))
    assert open_occurrence(path, ground.site, now_s=NOW_S, heads=ground.heads) is None
    assert len(ground.register) == 0
    assert not ground.site.store.folder.exists()


def test_an_exceeded_limit_opens_one_with_frozen_evidence(ground: Ground) -> None:
    path = ground.fly()
    found = opened(ground, path)
    event = found.occurrence.events[0]
    assert (event.kind, event.what) == ("violation", "wall")
    steps = read_flight(path).steps
    beyond = np.flatnonzero(steps["position"][:, 0] > trolley.WALL_M)
    assert (event.first_step, event.last_step, event.steps) == (beyond[0], beyond[-1], len(beyond))
    assert event.worst == pytest.approx(steps["position"][:, 0].max() - trolley.WALL_M)
    evidence = ground.register.find(found.occurrence.evidence)
    assert evidence is not None
    files = ground.site.store.verify(evidence.statement)
    assert set(files) == {FLIGHT, HEADS}
    assert files[FLIGHT].read_bytes() == path.read_bytes()
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o444 for file in files.values())
    assert found.occurrence.keep_until_s >= NOW_S + LEAST_RETENTION_DAYS * 86_400
    assert path.exists(), "freezing copies"
    assert find_occurrence(ground.register, found.entry.digest[:12]).number == found.entry.number


def test_a_flight_is_opened_once(ground: Ground) -> None:
    path = ground.fly()
    first, entries = opened(ground, path), len(ground.register)
    assert opened(ground, path).entry.digest == first.entry.digest
    assert len(ground.register) == entries


def test_the_frozen_flight_replays_bit_by_bit(ground: Ground) -> None:
    assert replay_exactly(opened(ground, ground.fly())).exact


@pytest.mark.parametrize("what", ["altered", "gone", "link"])
def test_evidence_that_was_tampered_with_is_refused(
    ground: Ground, what: str, tmp_path: Path
) -> None:
    found = opened(ground, ground.fly())
    evidence = ground.register.find(found.occurrence.evidence)
    assert evidence is not None
    file = ground.site.store.verify(evidence.statement)[FLIGHT]
    raw = bytearray(file.read_bytes())
    file.unlink()
    if what == "altered":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    elif what == "link":
        (tmp_path / "elsewhere").write_bytes(raw)
        file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedData, match="not what was frozen: flight"):
        reopen(found.entry, ground.register, ground.site.store)


def test_a_recording_that_was_tampered_with_opens_nothing(ground: Ground) -> None:
    path = ground.fly()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Untrusted, match="flipped"):
        opened(ground, path)
    assert len(ground.register) == 0


def test_a_recording_by_a_stranger_opens_nothing(ground: Ground) -> None:
    path = ground.folder / "strange"
    trolley.fly(path, SigningKey.new())
    with pytest.raises(Untrusted, match="not what was recorded"):
        open_occurrence(path, ground.site, now_s=NOW_S)


def test_a_recording_whose_recorder_was_killed_is_opened(ground: Ground) -> None:
    """What it had written by then, torn record and all, with the heads that had got away."""
    path = ground.fly()
    heads = ground.heads / f"{path.name}.heads"
    heads.write_bytes(heads.read_bytes().splitlines(keepends=True)[0])
    path.write_bytes(path.read_bytes()[:-1000])
    found = opened(ground, path)
    assert found.flight.torn_bytes > 0
    assert found.occurrence.events[0].what == "wall"
    assert make_scenario(found, ground.site).shortest.same_as_flight


def test_evidence_is_kept_for_six_months_at_least(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InvalidConfig, match="183 or more"):
        EvidenceStore(folder=tmp_path / "store").freeze(
            {"file": tmp_path / "file"}, key=SigningKey.new(), now_s=0, about={}, retain_days=90
        )


def test_a_brake_that_trips_opens_one(ground: Ground) -> None:
    """A drift that nobody declared: the robot does not move as commanded."""
    entry = RobotEntry(
        body=trolley.ENTRY.body, plant=trolley.ENTRY.plant, config={"drift_m_s": 0.4}
    )
    path = ground.fly("drifting", gently, configuration=Configuration(limits=limits()), entry=entry)
    found = opened(ground, path)
    assert [(e.kind, e.what) for e in found.occurrence.events] == [("brake", "RESIDUAL")]
    scenario = make_scenario(found, ground.site)
    assert scenario.regression.kind == "brake"
    assert scenario.shortest.outcome.event_after == scenario.regression.event_after


def record_stops(path: Path, ground: Ground, reasons: list[Reason | None]) -> None:
    """Record a trolley at rest; a reason stands for a step in the safe state."""
    configuration = Configuration(limits=limits())
    still = np.zeros(2)
    header = read_flight(ground.fly("pattern", gently, configuration=configuration)).header
    with BlackBox(path, header, ground.people.keys["recorder"], ground.heads) as box:
        for step, reason in enumerate(reasons):
            record = StepRecord(
                sequence=step, monotonic_s=step / 100, requested=still, request_age_s=0.0,
                position=still, speed=still, sensor_age_s=0.0, applied=still,
                reason=reason or Reason.UNALTERED, margin=float("nan"), stopping=reason is not None,
            )  # fmt: skip
            box.step(record)


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([Reason.BRAKED, Reason.BRAKED, None], []),
        ([Reason.STALE, Reason.STALE, None, None], []),  # a robot begins at rest
        ([None, Reason.GROUNDED, Reason.BRAKED], []),
        ([None, Reason.LEASE], []),
        ([None, Reason.PEER], []),
        ([None, Reason.OPERATOR, Reason.BRAKED], ["OPERATOR"]),
        ([None, Reason.DEADLINE], ["DEADLINE"]),
        (
            [None, Reason.RESIDUAL, Reason.BRAKED, None, Reason.POLICY_LOST],
            ["RESIDUAL", "POLICY_LOST"],
        ),
    ],
)
def test_stops_that_were_ordered_open_nothing(
    ground: Ground, reasons: list[Reason | None], expected: list[str]
) -> None:
    path = ground.folder / "stops"
    record_stops(path, ground, reasons)
    events = find_events(read_flight(path), trolley.make_body(), OpeningRule())
    assert [event.what for event in events] == expected


def test_stops_of_the_filter_are_its_own_and_others_are_kept(ground: Ground) -> None:
    path = ground.folder / "stops"
    filter_stop, guard_stop = (Reason.RESIDUAL, Reason.BRAKED), (Reason.DEADLINE, Reason.BRAKED)
    record_stops(path, ground, [Reason.BRAKED, None, *filter_stop, None, *guard_stop, None])
    script = script_of(read_flight(path), 0, 8)
    still = (0.0, 0.0)
    assert [(segment.request, segment.steps) for segment in script] == [
        ("stop", 1),
        (still, 4),
        ("stop", 2),
        (still, 1),
    ]


def test_what_happens_after_a_stop_from_outside_happens_again(ground: Ground) -> None:
    """The guard held the trolley for a while; the filter begins anew when it is let go."""
    found = opened(ground, ground.fly("held", held=range(105, 121)))
    shortest = make_scenario(found, ground.site).shortest
    assert shortest.same_as_flight
    assert "stop" in [segment.request for segment in shortest.script[:1]]
    assert shortest.outcome.event_after is not None


def test_a_thin_margin_opens_one(ground: Ground) -> None:
    rule = OpeningRule(least_margin=0.7)
    path = ground.fly("near", into_the_wall, configuration=Configuration(limits=limits()))
    events = find_events(read_flight(path), trolley.make_body(), rule)
    assert [event.kind for event in events] == ["margin"]
    assert events[0].worst == read_flight(path).steps["margin"].min()


def test_the_configuration_is_found_by_its_digest_or_not_at_all(ground: Ground) -> None:
    flown = Configuration(limits=limits(), rungs=trolley.CLAMP_ONLY)
    body = trolley.make_body()
    assert configuration_of(flown.make_filter(body).digest, limits(), body) == flown
    with pytest.raises(Unidentified, match="another version of the ladder"):
        configuration_of("f" * 64, limits(), body)


def test_without_a_snapshot_there_is_evidence_but_no_scenario(ground: Ground) -> None:
    found = opened(ground, ground.fly(snapshots=()))
    with pytest.raises(Unidentified, match="no snapshot before step"):
        make_scenario(found, ground.site)


def test_on_another_build_nothing_is_minimised(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(ground, ground.fly())
    monkeypatch.setattr(trolley, "GAIN_PER_S", 59.0)
    with pytest.raises(Unidentified, match="does not replay exactly"):
        make_scenario(found, ground.site)


def test_requests_that_were_no_numbers_are_part_of_a_scenario(ground: Ground) -> None:
    def odd(step: int, measured: Measured) -> object:
        return "faster" if step % 7 == 3 else into_the_wall(step, measured)

    scenario = make_scenario(opened(ground, ground.fly("odd", odd, steps=300)), ground.site)
    assert scenario.shortest.same_as_flight
    assert scenario.regression.what == "wall"
