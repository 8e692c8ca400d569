from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, Untrusted
from loopwright.safety.reports import (
    REMOVED,
    InvestigatorKey,
    Report,
    ReportBox,
    seal,
    without_author,
)

KEY = InvestigatorKey.new()
NOON = 1_700_000_000.0


@given(st.text(min_size=1).filter(str.strip))
def test_what_is_sealed_is_read_by_the_investigator(text: str) -> None:
    report = Report(text=text, day="2026-11-22")
    assert KEY.unseal(seal(report, KEY.public)) == report


def test_nobody_else_reads_or_alters_it(tmp_path: Path) -> None:
    box = ReportBox.create(tmp_path / "box", KEY.public)
    name = box.submit("the brake squeals before it holds", robot="arm7-v1", now_s=NOON)
    path = box.folder / f"{name}.report"
    sealed = path.read_bytes()
    assert b"brake" not in sealed
    with pytest.raises(DamagedData, match="another investigator"):
        list(box.read(InvestigatorKey.new()))
    for at in (0, 31, 32, 100, len(sealed) - 1):
        broken = bytearray(sealed)
        broken[at] ^= 1
        with pytest.raises(DamagedData):
            KEY.unseal(bytes(broken))
    assert [(n, r.robot) for n, r in box.read(KEY)] == [(name, "arm7-v1")]


def test_an_author_is_not_to_be_found_in_it(tmp_path: Path) -> None:
    box = ReportBox.create(tmp_path / "box", KEY.public)
    user, host = getpass.getuser(), socket.gethostname()
    box.submit(
        f"I ({user.upper()} on {host}, a.b@example.org, 10.0.0.7) saw /home/{user}/log.txt",
        now_s=NOON,
    )
    ((name, report),) = box.read(KEY)
    assert report.day == "2023-11-14"
    assert (
        report.text == (f"I ({REMOVED} on {REMOVED}, {REMOVED}, {REMOVED}) saw {REMOVED}")
        or re.search(rf"(?<!\w)({user}|{host}|example|10\.0)(?!\w)", report.text) is None
    )
    found = os.stat(box.folder / f"{name}.report")
    assert found.st_mtime % 86_400 == 0
    assert found.st_size % 4096 == 32 + 16


def test_short_and_long_reports_look_alike() -> None:
    lengths = {
        len(seal(Report(text="a" * n, day="2026-11-22"), KEY.public)) for n in (1, 900, 3000)
    }
    assert len(lengths) == 1


def test_words_that_merely_contain_a_name_stay() -> None:
    user = getpass.getuser()
    assert without_author(f"x{user}y") == f"x{user}y"


def test_keys_and_boxes_are_never_overwritten(tmp_path: Path) -> None:
    KEY.write(tmp_path / "key")
    assert InvestigatorKey.read(tmp_path / "key").public == KEY.public
    with pytest.raises(InvalidConfig):
        KEY.write(tmp_path / "key")
    os.chmod(tmp_path / "key", 0o640)
    with pytest.raises(Untrusted):
        InvestigatorKey.read(tmp_path / "key")
    ReportBox.create(tmp_path / "box", KEY.public)
    with pytest.raises(InvalidConfig):
        ReportBox.create(tmp_path / "box", KEY.public)
    with pytest.raises(DamagedData):
        ReportBox(tmp_path)
