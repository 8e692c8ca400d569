"""The files of a new scenario: what ``loopwright new NAME`` writes."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.scenarios.gymnasium.scenario import require_environment

DEFAULT_ENVIRONMENT = "Reacher-v5"
"""A two-joint arm that touches a dot: quick, drawn without a screen, and with an easy expert."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_REACHER = Template('''\
"""Touch the red dot with the tip of a two-joint arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loopwright.core.scenario import Box
from loopwright.scenarios.gymnasium import GymnasiumScenario, Judgement

SUCCESS_WITHIN_M = 0.02
LINKS_M = (0.1, 0.11)


def judge(evidence: Mapping[str, np.ndarray]) -> Judgement:
    """Conclude from the recorded columns how an attempt ended. Must be pure."""
    distance_m = np.hypot(evidence["tip_to_dot_x"], evidence["tip_to_dot_y"])
    nearest_m = float(distance_m.min())
    if nearest_m <= SUCCESS_WITHIN_M:
        return Judgement(outcome="success", score=1.0, reason="the tip touched the dot")
    return Judgement(
        outcome="failure",
        score=float(np.clip(1.0 - nearest_m / distance_m[0], 0.0, 0.99)),
        reason=f"the tip came within {nearest_m:.3f} m of the dot, not {SUCCESS_WITHIN_M} m",
    )


def place(environment: Any, start: Mapping[str, float]) -> np.ndarray:
    """Put the dot where the start says, and return the observation there."""
    arm = environment.unwrapped
    positions, velocities = arm.data.qpos.copy(), arm.data.qvel.copy()
    positions[2:] = start["dot_x_m"], start["dot_y_m"]
    arm.set_state(positions, velocities)
    return arm._get_obs()


def expert(observation: np.ndarray) -> np.ndarray:
    """Bend the arm until its tip is at the dot. Demonstrations and videos need an expert."""
    cosine, sine, dot_m, speed = np.split(observation[:8], 4)
    reach_m = np.clip(np.hypot(*dot_m), 0.02, 0.205)
    upper_m, lower_m = LINKS_M
    bend = np.arccos((reach_m**2 - upper_m**2 - lower_m**2) / (2 * upper_m * lower_m))
    swing = np.arctan2(lower_m * np.sin(bend), upper_m + lower_m * np.cos(bend))
    wanted = np.array([np.arctan2(dot_m[1], dot_m[0]) - swing, bend])
    error = wanted - np.arctan2(sine, cosine)
    error[0] = np.arctan2(np.sin(error[0]), np.cos(error[0]))  # the first joint takes the short way
    return np.clip(0.5 * error - 0.05 * speed, -1.0, 1.0)


scenario = GymnasiumScenario(
    id="$id",
    env_id="$env_id",
    judge=judge,
    instruction="touch the red dot",
    max_steps=50,
    # Look straight down: the default camera shows the arm a few pixels long.
    env_options={
        "default_camera_config": {
            "distance": 0.6,
            "elevation": -90.0,
            "lookat": np.array([0.0, 0.0, 0.0]),
        }
    },
    proprio_names=(
        "cos_shoulder",
        "cos_elbow",
        "sin_shoulder",
        "sin_elbow",
        "dot_x",
        "dot_y",
        "shoulder_speed",
        "elbow_speed",
        "tip_to_dot_x",
        "tip_to_dot_y",
    ),
    start_box=Box(
        low={"dot_x_m": -0.13, "dot_y_m": -0.13},
        high={"dot_x_m": 0.13, "dot_y_m": 0.13},
    ),
    place=place,
    expert=expert,
    expert_noise=0.05,
)
''')

_GENERIC = Template('''\
"""$env_id as a scenario. The judge is a first guess: let it say what success means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loopwright.scenarios.gymnasium import GymnasiumScenario, Judgement

SUCCESS_RETURN = 100.0


def judge(evidence: Mapping[str, np.ndarray]) -> Judgement:
    """Conclude from the recorded columns how an attempt ended. Must be pure.

    There is one column per component of the observation (``observation_0`` ...), and ``reward``,
    ``terminated`` and ``truncated``; each holds one number per control step.
    """
    total = float(evidence["reward"].sum())
    if total >= SUCCESS_RETURN:
        return Judgement(outcome="success", score=1.0, reason=f"the return is {total:.1f}")
    return Judgement(
        outcome="failure",
        score=float(np.clip(total / SUCCESS_RETURN, 0.0, 0.99)),
        reason=f"the return is {total:.1f}, success needs {SUCCESS_RETURN:.1f}",
    )


scenario = GymnasiumScenario(
    id="$id",
    env_id="$env_id",
    judge=judge,
    instruction="",
    max_steps=200,
    expert=None,  # yours to write: from the flat observation to an action; the loop needs it
)
''')

_RECIPE = Template('''\
"""The loop of $name; ``loopwright run`` with the path of this file turns it."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.scenario import Request
from loopwright.loop.config import Learner, LoopConfig, RoundPlan
from loopwright.loop.gate import GateConfig

SCENARIO = str(Path(__file__).with_name("scenario.py"))
CLONING = Learner(
    entry="loopwright.train.learners:wam",
    config={"use_video": False, "use_idm": False, "use_forward": False, "use_proprio": True},
)


def recipe() -> LoopConfig:
    """Clone a few demonstrations, then more, then learn from verified successes."""
    return LoopConfig(
        name="$name",
        scenario=SCENARIO,
        certificate=None,  # for a robot: CertificateConfig(level="D", rig="module:function")
        genesis=RoundPlan(
            label="clone 3 demonstrations",
            learner=CLONING,
            requests=(Request(kind="demo", count=3),),
        ),
        rounds=(
            RoundPlan(
                label="clone 40 more",
                learner=CLONING,
                requests=(Request(kind="demo", count=40, first=1_000_000),),
            ),
            RoundPlan(label="its own successes", learner=CLONING, own_successes=True),
        ),
        gate=GateConfig(max_pairs=60),
    )
''')

_TEST = Template('''\
"""The scenario keeps its contract: run with ``pytest``."""

from pathlib import Path

from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.registry import get_scenario


def test_contract():
    check_scenario(get_scenario(str(Path(__file__).parent / "scenario.py"))).require()
''')

_README = Template("""\
# $name

A scenario for Loopwright on Gymnasium's `$env_id`.

| file | purpose |
|---|---|
| `scenario.py` | the world, the judge of success$expert_note |
| `recipe.py` | the loop: what is recorded, how a challenger is made, when the gate promotes it |
| `test_scenario.py` | checks the contract: repeatable, finite, judged from evidence alone |
$advice
Next, check the contract, turn the loop, or judge a policy of your own:

```sh
pytest $folder
loopwright run $folder/recipe.py
loopwright evaluate CANDIDATE --scenario $folder/scenario.py
```

When you change what the scenario does, raise the number in its id: results of the old one are not
comparable.
""")

_ADVICE = """
**Two things are yours to write before the loop can turn**, both in `scenario.py`: what success
means (`judge` is a first guess), and an `expert` for `GymnasiumScenario`, a function from the flat
observation to an action of the environment. It need not be good at everything: what the judge
calls a failure is not kept as a demonstration. To train on one part of the starts and test on
another, also give it a `start_box` and a `place`.
"""


def write_scaffold(folder: Path, name: str, env_id: str = DEFAULT_ENVIRONMENT) -> list[Path]:
    """Write a scenario that keeps its contract at once, and return the files.

    That of the default environment comes with an expert, so the loop turns on it at once, too.

    Args:
        folder: Where to write; made if it is not there.
        name: Of the scenario, in lower case with hyphens (``"touch-the-dot"``).
        env_id: Gymnasium's id of the environment.

    Raises:
        InvalidConfig: The name is not of that form, or a file is there already.
        UnknownName: No such environment is registered.
        MissingExtra: Gymnasium is not installed.
        StorageError: The operating system refused to write.
    """
    if not _NAME.fullmatch(name):
        raise InvalidConfig(
            f"scenario name {name!r}; expected lower case, digits and hyphens ('touch-the-dot')"
        )
    require_environment(env_id)
    is_reacher = env_id == DEFAULT_ENVIRONMENT
    values = {
        "name": name,
        "id": name if re.search(r"-v\d+$", name) else f"{name}-v1",
        "env_id": env_id,
        "folder": folder.as_posix(),
        "expert_note": ", the starts and an expert" if is_reacher else "",
        "advice": "" if is_reacher else _ADVICE,
    }
    contents = {
        "scenario.py": _REACHER if is_reacher else _GENERIC,
        "recipe.py": _RECIPE,
        "test_scenario.py": _TEST,
        "README.md": _README,
    }
    return _write({folder / file: text.substitute(values) for file, text in contents.items()})


def _write(contents: dict[Path, str]) -> list[Path]:
    try:
        for path in contents:
            if path.exists():
                raise InvalidConfig(f"{path} is there already; choose another folder")
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except OSError as error:
        raise StorageError(
            f"{error.filename} cannot be written: {error.strerror}; choose another place (--into)"
        ) from error
    return list(contents)
