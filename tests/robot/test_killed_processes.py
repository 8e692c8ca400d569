"""Brain, robots and bus killed during tasks: the judge of the benchmark finds nothing wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("zenoh")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, random, sys
from pathlib import Path
from benchmarks.robot_faults import HARM, QUICK_KILLS, judge, run

verdict = judge(*run(Path(sys.argv[1]), QUICK_KILLS, random.Random(1), lambda text: None))
print(json.dumps([{what: verdict.counts[what] for what in HARM}, verdict.outcomes,
                  verdict.examples]))
"""


@pytest.mark.slow
@pytest.mark.alone
def test_no_task_is_lost_doubled_or_lied_about_whoever_is_killed(tmp_path: Path) -> None:
    judged = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=900,
    )
    harm, outcomes, examples = json.loads(judged.stdout)
    assert set(harm.values()) == {0}, examples
    assert sum(outcomes.values()) > 0
