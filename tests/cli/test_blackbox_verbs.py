"""The verbs of the black box, on an arm that presses on a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loopwright.cli import EXIT_FAILED, EXIT_USAGE, main
from loopwright.safety.blackbox import BlackBox, FlightHeader, StepRecord
from loopwright.safety.decision import Reason
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.scenarios.arm7.plant import make_plant, robot_entry

STEPS = 700
DOWN = np.array([0.0, 1.3, 0.0, -0.7, 0.0, 1.1, 0.0])


class Recording:
    """A flight with a snapshot in the middle of a contact."""

    def __init__(self, folder: Path) -> None:
        self.path, self.heads, self.ring = folder / "flight", folder / "heads", folder / "ring.json"
        key = SigningKey.new()
        holder = Holder(person="recorder 7", public=key.public, roles=frozenset({"recorder"}))
        self.ring.write_text(json.dumps(KeyRing([holder]).to_json()))
        entry, plant = robot_entry(payload_kg=1.0), make_plant(payload_kg=1.0)
        header = FlightHeader(
            robot_id="bench",
            robot=entry,
            body=plant.spec,
            candidate="none",
            certificate="none",
            filter="none",
            limits={},
            instruction="press [/red] on the table",
            build="none",
        )
        measured = plant.reset(3)
        self.contact_step = 0
        with BlackBox(self.path, header, key, self.heads) as box:
            box.snapshot(plant.save(), 0)
            for step in range(STEPS):
                if plant.data.ncon and not self.contact_step:
                    self.contact_step = step
                if self.contact_step and step == self.contact_step + 20:
                    assert plant.data.ncon
                    box.snapshot(plant.save(), step)
                    box.note("operator", "looks \x1b[2J heavy [/]")
                stopping = step >= 600
                box.step(
                    StepRecord(
                        sequence=step,
                        monotonic_s=measured.time_s,
                        requested=DOWN * 2,
                        request_age_s=0.0,
                        position=measured.position,
                        speed=measured.speed,
                        sensor_age_s=0.0,
                        applied=DOWN,
                        reason=Reason.OPERATOR if stopping else Reason.SPEED,
                        margin=0.2,
                        stopping=stopping,
                    )
                )
                measured = plant.stop() if stopping else plant.step(DOWN)
        assert 0 < self.contact_step < 550


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return Recording(tmp_path_factory.mktemp("flight"))


def typed(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict:
    assert main(["blackbox", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_replay_is_bit_exact_also_from_within_a_contact(
    recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = typed(capsys, "replay", recording.path)
    assert (whole["exact"], whole["steps"], whole["same_build"]) == (True, STEPS, True)
    inside = typed(capsys, "replay", recording.path, "--start", recording.contact_step + 60)
    assert inside["exact"]
    assert inside["first_step"] == recording.contact_step + 20
    assert main(["blackbox", "replay", str(recording.path), "--ring", str(recording.ring)]) == 0
    assert "bit-exact: 700 steps" in capsys.readouterr().out


def test_verify_says_who_signed_and_finds_what_was_done(
    recording: Recording, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ("--ring", recording.ring, "--heads", recording.heads)
    report = typed(capsys, "verify", recording.path, *options)
    assert (report["verdict"], report["signers"]) == ("intact", ["recorder 7"])
    data = recording.path.read_bytes()
    bent = tmp_path / "bent"
    bent.write_bytes(data[: len(data) // 2])
    report = typed(capsys, "verify", bent, *options, code=EXIT_FAILED)
    assert "cut tail" in [f["name"] for f in report["findings"]]
    # Without a second place it may have been killed; that is not good enough either.
    assert main(["blackbox", "verify", str(bent), "--ring", str(recording.ring)]) == EXIT_FAILED
    assert "give --heads" in capsys.readouterr().out
    bent.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    assert main(["blackbox", "verify", str(bent), *map(str, options)]) == EXIT_FAILED
    assert "flipped" in capsys.readouterr().out
    command = ["blackbox", "replay", str(bent), "--ring", str(recording.ring)]
    assert main(command) == EXIT_FAILED


def test_show_tells_reasons_margins_and_events(
    recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = typed(capsys, "show", recording.path)
    assert shown["reasons"] == {"SPEED": 600, "OPERATOR": 100}
    assert shown["margins"]["least"] == 0.2
    assert [event["channel"] for event in shown["events"]] == ["filter", "operator", "filter"]
    assert main(["blackbox", "show", str(recording.path)]) == 0
    text = capsys.readouterr().out
    assert "press [/red] on the table" in text
    assert "\x1b[2J" not in text
    assert "\\x1b[2J heavy [/]" in text
    assert "step 600: OPERATOR, stopping" in text


def test_the_export_is_what_the_reader_of_mcap_reads(
    recording: Recording, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    reader = pytest.importorskip("mcap.reader")
    target = tmp_path / "flight.mcap"
    command = ["blackbox", "export", str(recording.path), "--mcap", str(target)]
    assert main(command) == 0
    with target.open("rb") as file:
        mcap = reader.make_reader(file, validate_crcs=True)
        messages = [(c.topic, json.loads(m.data), m) for _, c, m in mcap.iter_messages()]
        attached = {a.name: a.data for a in mcap.iter_attachments()}
    applied = [content for topic, content, _ in messages if topic == "/command/applied"]
    assert [list(content.values()) for content in applied] == [DOWN.tolist()] * STEPS
    verdicts = [content for topic, content, _ in messages if topic == "/filter"]
    assert [v["stopping"] for v in verdicts] == [False] * 600 + [True] * 100
    assert verdicts[0]["lease_left_s"] is None
    assert json.loads(attached["flight.json"])["robot_id"] == "bench"
    assert f"before-step-{recording.contact_step + 20}.state" in attached
    assert main(command) == EXIT_USAGE  # never over what is there
