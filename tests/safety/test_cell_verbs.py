"""A cell is stopped and released from a terminal, by its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from guarded_cell import BusyPolicy, bench

from loopwright.cli import main
from loopwright.safety.guard.signals import LineState
from loopwright.safety.keys import SigningKey


def test_a_cell_is_stopped_by_anybody_and_released_by_an_operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator, stranger = tmp_path / "operator.key", tmp_path / "stranger.key"
    SigningKey.new().write(stranger)
    with bench(tmp_path) as cell:
        cell.operator.write(operator)
        folder = str(cell.cell.config.signals)
        release = ["cell", "release", folder, "--note", "the hand is gone", "--key"]
        assert main([*release, str(operator)]) == 1
        assert "no stop" in capsys.readouterr().err
        with BusyPolicy(cell.cell.policy_side("r0")):
            cell.wait_moving("r0")
            assert main(["cell", "stop", folder, "--why", "a hand", "--by", "Olga"]) == 0
            assert "stop 1, OPERATOR" in capsys.readouterr().out
            stop = cell.cell.stop()
            assert stop is not None
            assert "Olga" in stop.detail
            assert main([*release, str(stranger)]) == 1
            assert "not on the key ring" in capsys.readouterr().err
            cell.cell.wait_until(LineState.DOWN)
            assert main([*release, str(operator)]) == 0
            assert "released by Olga: the hand is gone" in capsys.readouterr().out
            cell.cell.wait_until(LineState.UP)
            rows = len(cell.truth("r0"))
            cell.wait_moving("r0")
            assert np.any(cell.speeds(cell.truth("r0")[:rows]) == 0)


def test_a_stop_that_nobody_answers_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cell", "stop", str(tmp_path)]) == 1
    assert "cell.json" in capsys.readouterr().err
    with bench(tmp_path) as cell:
        cell.cell.processes["watchdog"].kill()
        cell.cell.processes["watchdog"].wait()
        assert main(["cell", "stop", str(cell.cell.config.signals)]) == 1
        assert "switch on the wall" in capsys.readouterr().err
