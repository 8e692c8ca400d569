from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from register_site import Site, deployment, digest_of

from loopwright.core.errors import (
    DamagedData,
    InvalidConfig,
    LoopwrightError,
    StorageError,
    UnknownName,
    Untrusted,
)
from loopwright.safety.chain import FindingName, verify_chain
from loopwright.safety.chain.frames import pack_frame, parse_frame
from loopwright.safety.entry import pack
from loopwright.safety.register import CHAIN_NAME, EPOCH_NAME, Register
from loopwright.safety.statement import Signed, Statement


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_was_appended_is_read_in_order_by_everybody(site: Site) -> None:
    writer, reader = site.begin(), site.open()
    numbers = [writer.append(site.evidence(f"log {i}")) for i in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    assert reader.refresh() == 5
    assert [e.statement.predicate["what"] for e in reader.statements(since=3)] == ["log 3", "log 4"]
    assert list(reader.statements("directive/v1")) == []
    assert site.open().head == writer.head


def test_entries_are_found_by_digest_and_by_what_they_are_filed_under(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence())
    signed = site.deployed(register, deployment("cell-7"))
    register.append(signed)
    assert [e.number for e in register.filed("cell-7")] == [2]
    found = register.find(signed.statement.digest)
    assert found is not None
    assert found.signed == signed
    assert register.find("no digest") is None


@pytest.mark.parametrize("role", ["proposer", "approver", "operator", "recorder", "investigator"])
def test_only_an_authority_issues_directives(site: Site, role: str) -> None:
    register = site.begin()
    statement = site.directive(register).statement
    with pytest.raises(Untrusted, match="authority"):
        register.append(site.signed(statement, role))  # type: ignore[arg-type]
    assert len(register) == 0


def test_a_certificate_takes_two_people(site: Site) -> None:
    register = site.begin()
    statement = Statement(kind="certificate/v1", subjects={}, predicate={"level": "D"})
    with pytest.raises(Untrusted):
        register.append(site.signed(statement, "proposer"))
    with pytest.raises(Untrusted):
        register.append(site.signed(statement, "approver"))
    assert register.append(site.signed(statement, "proposer", "approver")) == 1


def test_an_altered_statement_is_not_taken(site: Site) -> None:
    register = site.begin()
    good = site.evidence()
    other = Statement(kind="evidence/v1", subjects={}, predicate={"what": "another"})
    with pytest.raises(Untrusted):
        register.append(Signed(statement=other, signatures=good.signatures))


def test_kinds_without_a_rule_are_refused(site: Site) -> None:
    register = site.begin()
    with pytest.raises(UnknownName, match="directive/v1"):
        register.append(
            site.signed(Statement(kind="directiv/v1", subjects={}, predicate={}), "authority")
        )


def test_a_statement_counts_once(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence())
    with pytest.raises(Untrusted, match="number 1"):
        register.append(site.evidence())


def test_directives_are_numbered_upwards(site: Site) -> None:
    register = site.begin()
    register.append(site.directive(register, number=3))
    for number in (1, 3):
        with pytest.raises(Untrusted, match="the next is 4"):
            register.append(site.directive(register, number=number, reason="another"))
    assert register.append(site.directive(register, number=4)) == 2


def test_statements_bound_to_another_register_are_refused(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    other = Register.create(tmp_path / "other", site.ring, site.keys["authority"])
    assert other.id != register.id
    with pytest.raises(Untrusted, match="another register"):
        register.append(site.directive(other))


def test_an_illegible_directive_never_gets_in(site: Site) -> None:
    register = site.begin()
    good = dict(site.directive(register).statement.predicate)
    for change in (
        {"match": {"any_of": []}},
        {"match": {"any_of": [{}]}},
        {"match": {"any_of": [{"planet": ["earth"]}]}},
        {"action": "wave"},
        {"reason": " "},
        {"number": 0},
        {"comply_by_s": "soon"},
        {"more": 1},
    ):
        statement = Statement(kind="directive/v1", subjects={}, predicate={**good, **change})
        with pytest.raises(LoopwrightError):
            register.append(site.signed(statement, "authority"))
    assert len(register) == 0


def test_only_an_authority_begins_a_register(site: Site) -> None:
    with pytest.raises(Untrusted, match="authority"):
        Register.create(site.place, site.ring, site.keys["operator"])
    site.begin()
    with pytest.raises(InvalidConfig, match="already"):
        site.begin()


def test_a_torn_tail_is_passed_over_and_then_cut(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence("first"))
    chain = site.place / CHAIN_NAME
    whole = chain.read_bytes()
    register.append(site.evidence("second"))
    longer = chain.read_bytes()
    for cut in range(len(whole) + 1, len(longer), 37):
        chain.write_bytes(longer[:cut])
        assert len(site.open()) == 1
    again = site.open()
    torn_bytes = chain.stat().st_size - len(whole)
    assert again.append(site.evidence("third")) == 2
    assert again.cut_bytes == torn_bytes > 0
    assert [e.statement.predicate["what"] for e in site.open().statements()] == ["first", "third"]


def test_a_register_is_a_chain_like_any_other(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence())
    report = verify_chain(site.place / CHAIN_NAME, site.ring, role="authority")
    assert [finding.name for finding in report.findings] == [FindingName.NOT_CLOSED]
    assert report.id == register.id


def forge(site: Site, code: int, payload: bytes) -> None:
    """Put a frame into the file as an attacker would who can write it but holds no key."""
    path = site.place / CHAIN_NAME
    data = path.read_bytes()
    at, frame = 0, None
    while at < len(data):
        frame = parse_frame(data, at, at)
        assert frame is not None
        at = frame.end
    assert frame is not None
    path.write_bytes(data + pack_frame(code, frame.sequence + 1, frame.digest, payload)[0])


def test_a_reader_refuses_what_the_writer_would_have_refused(site: Site) -> None:
    register = site.begin()
    first = site.directive(register)
    register.append(first)
    untouched = (site.place / CHAIN_NAME).read_bytes()
    next_one = Statement(
        kind="directive/v1", subjects={}, predicate={**first.statement.predicate, "number": 2}
    )
    forged = [
        (22, pack(0.0, "", first), "already"),
        (22, pack(0.0, "", site.signed(next_one, "operator")), "authority"),
        (22, pack(0.0, "", Signed(statement=next_one, signatures=first.signatures)), "altered"),
        (22, pack(0.0, "", Signed(statement=next_one, signatures=())), "not signed"),
        (18, pack(0.0, "", site.signed(next_one, "authority")), "another kind"),
        (22, pack(0.0, "x", site.signed(next_one, "authority")), "filed"),
        (99, pack(0.0, "", site.signed(next_one, "authority")), "unknown kind"),
        (22, b"nonsense", "too short"),
        (22, pack(0.0, "", site.signed(next_one, "authority")) + b" ", "canonical"),
    ]
    for code, payload, reason in forged:
        forge(site, code, payload)
        with pytest.raises(Untrusted, match=reason):
            site.open()
        with pytest.raises(Untrusted, match=reason):
            register.refresh()
        (site.place / CHAIN_NAME).write_bytes(untouched)
    forge(site, 22, pack(0.0, "", site.signed(next_one, "authority")))
    assert len(site.open()) == 2


def test_any_flipped_bit_of_what_was_committed_is_noticed(site: Site) -> None:
    register = site.begin()
    for i in range(3):
        register.append(site.evidence(f"log {i}"))
    path = site.place / CHAIN_NAME
    whole = path.read_bytes()
    chance = random.Random(7)
    for _ in range(150):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        broken = bytearray(whole)
        broken[at] ^= 1 << bit
        path.write_bytes(broken)
        with pytest.raises((DamagedData, Untrusted)):
            site.open()


def rewritten(site: Site, register: Register, keep: Callable[[int], bool]) -> None:
    """Rewrite the register without some entries, each still properly signed."""
    entries = [entry for entry in register.statements() if keep(entry.number)]
    data = (site.place / CHAIN_NAME).read_bytes()
    header = parse_frame(data, 0, 0)
    assert header is not None
    head = parse_frame(data, header.end, header.end)
    assert head is not None
    (site.place / CHAIN_NAME).write_bytes(data[: head.end])
    fresh = site.open()
    for entry in entries:
        fresh.append(entry.signed)


def test_a_rollback_is_noticed_by_whoever_remembers(site: Site, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    register = site.begin(memory=memory)
    register.append(site.evidence())
    early = tmp_path / "early"
    shutil.copytree(site.place, early)
    register.append(site.directive(register))
    register.close()
    shutil.rmtree(site.place)
    early.rename(site.place)
    with pytest.raises(Untrusted, match="rolled back"):
        site.open(memory=memory)
    assert len(site.open()) == 1  # who remembers nothing cannot know


def test_a_register_rewritten_without_a_directive_is_noticed(site: Site, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    register = site.begin(memory=memory)
    register.append(site.directive(register))
    for i in range(4):
        register.append(site.evidence(f"log {i}"))
    register.remember()
    rewritten(site, register, lambda number: number != 1)
    late = site.open()
    for i in range(9):
        late.append(site.evidence(f"later {i}"))
    for _ in range(2):  # and it does not get used to it
        with pytest.raises((Untrusted, DamagedData)):
            register.refresh()
    with pytest.raises(Untrusted, match="rewritten"):
        site.open(memory=memory)


def test_a_process_notices_an_older_file_in_the_place_of_the_register(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence())
    old = (site.place / CHAIN_NAME).read_bytes()
    register.append(site.directive(register))
    whole = (site.place / CHAIN_NAME).read_bytes()
    for content in (old, whole):
        partial = site.place / "partial"
        partial.write_bytes(content)
        partial.rename(site.place / CHAIN_NAME)
        if content is old:
            for _ in range(2):
                with pytest.raises(Untrusted, match="rolled back"):
                    register.refresh()
    assert register.refresh() == 0  # put right again


def test_another_register_in_its_place_is_noticed(site: Site, tmp_path: Path) -> None:
    register = site.begin()
    Register.create(tmp_path / "other", site.ring, site.keys["authority"])
    shutil.rmtree(site.place)
    (tmp_path / "other").rename(site.place)
    with pytest.raises(Untrusted, match="another register"):
        register.refresh()


def test_memory_saves_signatures_but_is_not_trusted_from_others(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    register = site.begin(memory=memory)
    for i in range(3):
        register.append(site.evidence(f"log {i}"))
    register.close()
    checked: list[str] = []
    original = Signed.signers

    def counting(self: Signed, ring: object) -> object:
        checked.append(self.statement.kind)
        return original(self, ring)  # type: ignore[arg-type]

    monkeypatch.setattr(Signed, "signers", counting)
    site.open(memory=memory)
    assert checked == []
    renewed = Site(site.folder, keys={**site.keys, "approver": Site(tmp_path).keys["approver"]})
    renewed.open(memory=memory)
    assert len(checked) == 3  # another ring: everything again
    os.chmod(memory, 0o777)
    with pytest.raises(Untrusted, match="written by others"):
        site.open(memory=memory)


def test_the_epoch_follows_what_is_urgent(site: Site) -> None:
    register = site.begin()
    register.append(site.evidence())
    assert (site.place / EPOCH_NAME).read_bytes() == bytes(8)
    register.append(site.directive(register))
    assert register.epoch == 1
    assert int.from_bytes((site.place / EPOCH_NAME).read_bytes(), "little") == 1


def test_a_full_disk_leaves_the_register_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = site.begin()
    register.append(site.evidence("first"))
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: original(fd, data[: len(data) // 2], at))
    with pytest.raises(StorageError):
        register.append(site.evidence("second"))
    monkeypatch.undo()
    assert register.append(site.evidence("third")) == 2
    assert len(site.open()) == 2


WRITER = """
    import sys
    from pathlib import Path
    from loopwright.safety.keys import KeyRing, SigningKey
    from loopwright.safety.register import Register
    from loopwright.safety.statement import Signed, Statement

    folder, name = Path(sys.argv[1]), sys.argv[2]
    key = SigningKey.read(folder / "operator.key")
    register = Register.open(folder / "register", KeyRing.read(folder / "ring.json"))
    for i in range(int(sys.argv[3])):
        said = {"what": f"{name} {i}"}
        signed = Signed.by(Statement(kind="evidence/v1", subjects={}, predicate=said), key)
        print(register.append(signed), said["what"], flush=True)
"""


def start_writer(site: Site, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(site.folder), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def hand_out_keys(site: Site) -> None:
    import json

    site.keys["operator"].write(site.folder / "operator.key")
    (site.folder / "ring.json").write_text(json.dumps(site.ring.to_json()))


def test_several_processes_write_and_none_loses_an_entry(site: Site) -> None:
    site.begin()
    hand_out_keys(site)
    writers = [start_writer(site, name, 20) for name in "abc"]
    said = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    register = site.open()
    found = [f"{e.number} {e.statement.predicate['what']}" for e in register.statements()]
    assert len(found) == 60
    assert sorted(said) == sorted(found)


def test_nothing_acknowledged_is_lost_when_writers_are_killed(site: Site) -> None:
    site.begin()
    hand_out_keys(site)
    acknowledged: list[str] = []
    chance = random.Random(3)
    for turn in range(6):
        writers = [start_writer(site, f"{turn}{name}", 100_000) for name in "ab"]
        for writer in writers:
            assert writer.stdout is not None
            acknowledged.append(writer.stdout.readline().strip())
        time.sleep(chance.random() * 0.1)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            rest = writer.communicate()[0].splitlines(keepends=True)
            acknowledged += [line.strip() for line in rest if line.endswith("\n")]
    found = {f"{e.number} {e.statement.predicate['what']}" for e in site.open().statements()}
    assert len(acknowledged) >= 12
    assert set(acknowledged) <= found
    assert site.open().append(site.evidence(digest_of("after"))) == len(found) + 1
