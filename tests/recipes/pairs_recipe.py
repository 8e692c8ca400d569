"""``wudao.tiny`` with few steps on a corpus that is made here, for the real command.

What a test wants otherwise comes as JSON in ``PAIRS_RECIPE``. ``ODD_RANK`` sees another corpus;
``DYING_RANK`` kills itself once the file ``DYING_WHEN`` exists.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from loopwright.core.stage import ProgressSink
from loopwright.loop.config import CorpusPlan
from loopwright.recipes.training import Training
from loopwright.recipes.wudao import tiny
from loopwright.store.corpus import CorpusFacts, array_column, write_corpus

TEXTS = ("red", "blue", "green", "grey", "dark red", "dark blue", "light green", "white")


def recipe() -> Training:
    """Return the training that the environment asks for."""
    wanted: dict[str, Any] = json.loads(os.environ["PAIRS_RECIPE"])
    learner = tiny().learner
    few = {"picture_steps": 3, "steps": 11, "batch": 8, "picture_batch": 8, "precision": "float32"}
    return replace(
        tiny(),
        learner=replace(
            learner,
            entry=wanted.pop("entry", learner.entry),
            corpora=(
                CorpusPlan(entry="pairs_recipe:build", config={"path": wanted.pop("corpus")}),
            ),
            config={**learner.config, **few, "checkpoint_every_steps": 2, **wanted},
        ),
    )


def build(path: str, progress: ProgressSink) -> Path:
    """Write the corpus if it is not there; a file beside it counts how often that was."""
    if _rank_is("DYING_RANK"):
        threading.Thread(target=_die, daemon=True).start()
    is_odd = _rank_is("ODD_RANK")
    target = Path(path).with_suffix(".odd.parquet" if is_odd else ".parquet")
    if target.exists():
        return target
    with target.with_suffix(".built").open("a") as built:
        built.write("built\n")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (len(TEXTS), 16, 16, 3), dtype=np.uint8)
    if is_odd:
        pixels[0] = 0
    field, column = array_column("pixels", pixels)
    kinds = [("style", pa.string()), ("weight", pa.float64()), ("text.en", pa.string())]
    columns = [["twemoji"] * len(TEXTS), [1.0] * len(TEXTS), TEXTS]
    table = pa.Table.from_arrays(
        [column, *(pa.array(values) for values in columns)],
        schema=pa.schema([field, *(pa.field(*kind) for kind in kinds)]),
    )
    facts = CorpusFacts(name="pairs", version=1, sources=(), settings={})
    return write_corpus(target, table, facts=facts).path


def _rank_is(name: str) -> bool:
    return os.environ.get("RANK", "0") == os.environ.get(name)


def _die() -> None:
    while not Path(os.environ["DYING_WHEN"]).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
