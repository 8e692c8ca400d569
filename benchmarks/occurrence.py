"""How long it takes from a violation to a regression scenario, and whether it is exact.

``python -m benchmarks.occurrence`` (or ``make bench NAME=occurrence``): drills with the simulated
arm, each from a flight of its own: a policy drives at a wall and the filter only clamps, or the arm
carries 15 kg that nobody declared and nothing watches the residual.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Measurement, cpu_seconds
from loopwright.core.errors import Unidentified
from loopwright.core.statistics import clopper_pearson
from loopwright.recipes.drill import Cause, Step, stage
from loopwright.safety.occurrence.regression import SUFFIX, Regression, run_regression

CAUSES: tuple[Cause, ...] = ("no-envelope", "heavy-load")
GOAL_S = 60.0
FLIGHT_S = 6.0


def main() -> None:
    """Stage drills, one seed after the other."""
    with Benchmark("occurrence", "From a violation to a scenario", seeds=(0,)) as bench:
        for cause in CAUSES:
            measure(bench, cause, 2 if bench.quick else 20)
        bench.note("Seconds are of a loaded machine; the flight is simulated and part of them.")
        bench.note("15 kg are five times what the arm is declared for: not every rung helps then.")


def measure(bench: Benchmark, cause: Cause, drills: int) -> None:
    """Add the measurements of one cause."""
    wall_s, cpu_s, short = [], [], []
    exact = prevented = uneventful = 0
    for seed in bench.track(range(drills), cause):
        with tempfile.TemporaryDirectory() as folder:
            begin_s, begin_cpu_s = time.monotonic(), cpu_seconds()
            try:
                steps: list[Step] = list(
                    stage(Path(folder), cause=cause, seconds=FLIGHT_S, seed=seed)
                )
            except Unidentified as error:
                bench.details.append({"cause": cause, "seed": seed, "error": str(error)})
                uneventful += 1
                continue
            wall_s.append(time.monotonic() - begin_s)
            cpu_s.append(cpu_seconds() - begin_cpu_s)
            (file,) = Path(folder, "suite").glob(f"*{SUFFIX}")
            regression, report = Regression.read(file), run_regression(file)
            replayed = all(step.holds for step in steps if step.name == "replayed")
            exact += replayed and report.happens and report.exact
            prevented += report.mended == "prevented"
            short.append((regression.event_after, len(regression.script), file.stat().st_size))
            bench.details.append(
                {
                    "cause": cause,
                    "seed": seed,
                    "what": regression.what,
                    "steps": regression.event_after,
                    "requests": len(regression.script),
                    "mended": report.mended,
                    "seconds": {step.name: step.seconds for step in steps},
                }
            )
    n = len(wall_s)
    steps_n, requests_n, size_n = np.median(np.array(short), axis=0)
    worst_s = max(wall_s)
    bench.add(
        Measurement(
            metric=f"{cause}: violation to checked scenario, worst",
            value=worst_s,
            unit="s wall",
            n=n,
            target=f"<= {GOAL_S:.0f}",
            compared_with=f"median {float(np.median(cpu_s)):.1f} s CPU; {uneventful} of {drills} "
            "flights without an occurrence or a scenario",
        )
    )
    bench.add(
        Measurement(
            metric=f"{cause}: replay and scenario bit-exact",
            value=exact / n,
            unit="share",
            interval=clopper_pearson(exact, n),
            n=n,
            target=">= 1",
        )
    )
    bench.add(
        Measurement(
            metric=f"{cause}: prevented with every rung",
            value=prevented / n,
            unit="share",
            interval=clopper_pearson(prevented, n),
            n=n,
        )
    )
    bench.add(
        Measurement(
            metric=f"{cause}: scenario, median",
            value=float(steps_n),
            unit="control steps",
            n=n,
            compared_with=f"{FLIGHT_S * 500:.0f} in the flight; {requests_n:.0f} requests, "
            f"{size_n / 1e3:.1f} kB",
        )
    )


if __name__ == "__main__":
    main()
