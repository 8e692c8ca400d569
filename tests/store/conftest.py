from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.store.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path):
    with Workspace.create(tmp_path / "ws", exclusive=True) as made:
        yield made
