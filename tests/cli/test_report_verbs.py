from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from loopwright.cli import main


def test_a_report_is_read_by_the_investigator_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reports", "box", "reports", "--key", "ines.key"]) == 0
    assert main(["reports", "box", "other", "--key", "otto.key"]) == 0
    assert main(["reports", "list", "--key", "ines.key"]) == 0
    assert "no reports" in capsys.readouterr().out
    assert main(["reports", "new", "the gripper let go", "--robot", "arm7-v1"]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("it [bold]shook[/bold], says ana@example.org"))
    assert main(["reports", "new"]) == 0
    capsys.readouterr()
    assert main(["reports", "list", "--key", "ines.key", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    texts = {report["text"]: report["robot"] for report in told}
    assert texts == {
        "the gripper let go": "arm7-v1",
        "it [bold]shook[/bold], says [removed]": "",
    }
    assert main(["reports", "list", "--key", "ines.key"]) == 0
    assert "it [bold]shook[/bold]" in capsys.readouterr().out
    assert main(["reports", "list", "--key", "otto.key"]) == 1
    assert "another investigator" in capsys.readouterr().err
    assert main(["reports", "new", "  "]) == 2
