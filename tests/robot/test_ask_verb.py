"""``loopwright ask`` with a deadline, against a toy fleet behind a real door."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from wires_fleet import open_fleet

from loopwright.cli.verbs import ask
from loopwright.robot.fleet.site import FleetSilent, FleetSite
from loopwright.robot.journal.journal import Journal


def test_a_deadline_that_will_be_missed_is_told_before_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_fleet(tmp_path) as fleet:
        site = FleetSite(tmp_path)
        site.write_address(fleet.server.url)
        shutil.copy(tmp_path / "tokens.json", site.tokens)
        fleet.runner.lasts_s = 0.25
        # A ring is expected to take half a second, as long as none was measured.
        bells = " ".join(f"bell-{n}" for n in range(14))
        assert ask.main(f"ring {bells}", within=0.5, folder=tmp_path) == 0
        said = capsys.readouterr()
        assert "s after its deadline" in said.out
        assert "expected to be" in said.err
        assert ask.main("ring north", within=60.0, folder=tmp_path) == 0
        said = capsys.readouterr()
        assert "deadline" not in said.out
        assert not said.err


def test_where_no_fleet_is_it_is_said_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(FleetSilent, match="loopwright up tabletop"):
        ask.main("ring north", folder=tmp_path)
    site = FleetSite(tmp_path)
    Journal(site.journal).close()  # one has been there, and is gone
    with pytest.raises(FleetSilent, match="loopwright up tabletop"):
        ask.main("ring north", folder=tmp_path)
