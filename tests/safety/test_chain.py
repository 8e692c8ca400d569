"""Chains: nothing that was confirmed is lost, and nothing that was written can change unnoticed."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, WorkspaceBusy
from loopwright.safety.chain import ChainWriter, read_chain, read_heads, verify_chain
from loopwright.safety.chain.frames import KIND_HEAD, NO_DIGEST, is_torn, pack_frame
from loopwright.safety.keys import Holder, KeyRing, SigningKey

KEY, OTHER = SigningKey.new(), SigningKey.new()
RING = KeyRing([Holder(person="recorder 7", public=KEY.public, roles=frozenset({"recorder"}))])
HEADER = {"robot": "arm7-v1"}


def write(
    path: Path,
    records: int = 30,
    *,
    key: SigningKey = KEY,
    second: Path | None = None,
    close: bool = True,
    checkpoint_every: int = 10,
    seed: int = 0,
) -> Path:
    draw = random.Random(seed)
    writer = ChainWriter.create(path, HEADER, key, second)
    for number in range(records):
        writer.append(16 + number % 3, draw.randbytes(draw.randrange(80)))
        if number % checkpoint_every == checkpoint_every - 1:
            writer.checkpoint()
    writer.close() if close else writer.abandon()
    return path


# A second reader, written from the documentation of the format alone.


def parse(data: bytes) -> list[tuple[int, int, int, bytes, bytes]]:
    """Begin, kind, sequence, payload, digest of every frame of a whole file."""
    found, at, before = [], 0, bytes(32)
    while at < len(data):
        magic, kind, length, sequence = struct.unpack_from("<4sIIQ", data, at)
        previous, (checksum,) = data[at + 20 : at + 52], struct.unpack_from("<I", data, at + 52)
        assert magic == b"LWC1"
        assert sequence == len(found)
        assert previous == before
        assert checksum == zlib.crc32(data[at : at + 52])
        end = at + 56 + length
        before = data[end : end + 32]
        assert before == hashlib.sha256(data[at:end]).digest()
        found.append((at, kind, sequence, data[at + 56 : end], before))
        at = end + 32
    return found


def check_heads(data: bytes, public: bytes) -> int:
    """Check every head of a whole file; return how many there are."""
    frames, heads = parse(data), 0
    for _, kind, _, payload, _ in frames:
        if kind == 2:
            signed, head = payload[64:], json.loads(payload[64:])
            Ed25519PublicKey.from_public_bytes(public).verify(
                payload[:64], b"loopwright chain head v1\n" + signed
            )
            begin, _, _, covered, digest = frames[head["sequence"]]
            assert head["file"] == frames[0][4].hex()
            assert head["digest"] == digest.hex()
            assert head["num_bytes"] == begin + 56 + len(covered) + 32
            heads += 1
    return heads


def test_a_reader_made_from_the_documented_format_agrees(tmp_path: Path) -> None:
    path = write(tmp_path / "a.chain", second=tmp_path / "heads")
    data = path.read_bytes()
    theirs = [(kind, payload) for _, kind, _, payload, _ in parse(data) if kind >= 16]
    assert theirs == list(read_chain(path))
    assert json.loads(parse(data)[0][3])["header"] == HEADER == read_chain(path).header
    assert check_heads(data, KEY.public) == verify_chain(path, RING).heads == 5
    with pytest.raises(InvalidSignature):
        check_heads(data, OTHER.public)
    lines = (tmp_path / "heads").read_bytes().splitlines()
    in_chain = [payload for _, kind, _, payload, _ in parse(data) if kind == 2]
    assert [bytes.fromhex(line[:128].decode()) + line[129:] for line in lines] == in_chain


@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(st.tuples(st.integers(16, 2**32 - 1), st.binary(max_size=300)), max_size=12),
    sessions=st.integers(1, 3),
)
def test_what_was_appended_is_read_and_intact(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes]], sessions: int
) -> None:
    path = tmp_path_factory.mktemp("chain") / "a"
    ChainWriter.create(path, HEADER, KEY).close()
    for _ in range(sessions):
        with ChainWriter.open(path, KEY) as writer:
            numbers = [writer.append(kind, payload) for kind, payload in records]
            assert numbers == sorted(set(numbers))
    assert list(read_chain(path)) == records * sessions
    assert check_heads(path.read_bytes(), KEY.public) == 2 + 2 * sessions
    assert verify_chain(path, RING).verdict == "intact"


@settings(max_examples=200, deadline=None)
@given(data=st.data(), payload=st.binary(max_size=200), zeros=st.integers(0, 200))
def test_every_beginning_of_the_next_frame_is_torn_and_nothing_else(
    data: st.DataObject, payload: bytes, zeros: int
) -> None:
    frame, _ = pack_frame(16, 7, b"\x05" * 32, payload)
    cut = data.draw(st.integers(1, len(frame) - 1))
    assert is_torn(frame[:cut], 7, b"\x05" * 32)
    assert is_torn(frame[:cut] + bytes(32 + zeros), 7, b"\x05" * 32)
    assert not is_torn(frame, 7, b"\x05" * 32)
    assert not is_torn(frame[: max(cut, 21)], 7, NO_DIGEST)
    where = data.draw(st.integers(0, min(cut, 56) - 1))
    bent = bytearray(frame[:cut])
    bent[where] ^= 1 << data.draw(st.integers(0, 7))
    if cut >= 56 or where < 4 or 12 <= where < 52:
        assert not is_torn(bytes(bent), 7, b"\x05" * 32)


@pytest.mark.parametrize("records", [0, 1, 2, 9, 10, 11, 100, 1000])
@pytest.mark.parametrize("close", [True, False])
def test_no_false_alarm_on_untouched_files(tmp_path: Path, records: int, close: bool) -> None:
    path = write(tmp_path / "a", records, second=tmp_path / "heads", close=close)
    for heads in (None, tmp_path / "heads"):
        report = verify_chain(path, RING, heads)
        assert report.verdict == ("intact" if close else "interrupted")
        assert {f.name for f in report.findings} == (set() if close else {"not closed"})
    assert report.unsigned == (1 if close else records % 10 + 1)


def test_a_torn_tail_is_no_tampering_and_is_cut_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a", second=tmp_path / "heads", close=False)
    whole = list(read_chain(path))
    torn = pack_frame(16, 35, parse(path.read_bytes())[-1][4], b"x" * 50)[0][:77]
    path.write_bytes(path.read_bytes() + torn)
    report = verify_chain(path, RING, tmp_path / "heads")
    assert report.verdict == "interrupted"
    assert {f.name for f in report.findings} == {"torn tail", "not closed"}
    chain = read_chain(path)
    assert list(chain) == whole
    assert chain.torn == torn
    with ChainWriter.open(path, KEY, tmp_path / "heads") as writer:
        assert writer.torn_bytes == 77
        writer.append(20, b"on")
    assert verify_chain(path, RING, tmp_path / "heads").verdict == "intact"
    assert list(read_chain(path)) == [*whole, (20, b"on")]
    said = [s.head for s in read_heads(tmp_path / "heads").heads if s.head.event == "reopened"]
    assert [(h.cut_bytes, h.cut_sha256) for h in said] == [(77, hashlib.sha256(torn).hexdigest())]


def frames_of(path: Path) -> list[bytes]:
    """The bytes of every frame."""
    data = path.read_bytes()
    begins = [begin for begin, *_ in parse(data)] + [len(data)]
    return [data[a:b] for a, b in itertools.pairwise(begins)]


def rechained(frames: list[bytes], key: SigningKey | None) -> bytes:
    """What somebody without the recorder's key can do: make links fit, and sign with another."""
    out, digest, first, end, ends = b"", NO_DIGEST, "", 0, {}
    for number, frame in enumerate(frames):
        kind, payload = int.from_bytes(frame[4:8], "little"), frame[56:-32]
        if kind == KIND_HEAD and key is not None:
            head = json.loads(payload[64:])
            covered = min(head["sequence"], number - 1)
            head |= {"file": first, "key": key.id, "sequence": covered}
            head |= {"digest": ends[covered][0], "num_bytes": ends[covered][1]}
            raw = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
            payload = key.sign(b"loopwright chain head v1\n" + raw) + raw
        packed, digest = pack_frame(kind, number, digest, payload)
        first = first or digest.hex()
        out += packed
        end += len(packed)
        ends[number] = (digest.hex(), end)
    return out


def flip(frames: list[bytes], draw: random.Random) -> bytes:
    data = bytearray(b"".join(frames))
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def delete(frames: list[bytes], draw: random.Random) -> bytes:
    del frames[draw.randrange(len(frames) - 1)]
    return b"".join(frames)


def reorder(frames: list[bytes], draw: random.Random) -> bytes:
    a, b = sorted(draw.sample(range(len(frames)), 2))
    frames[a], frames[b] = frames[b], frames[a]
    return b"".join(frames)


def duplicate(frames: list[bytes], draw: random.Random) -> bytes:
    frames.insert(draw.randrange(len(frames) + 1), draw.choice(frames))
    return b"".join(frames)


def insert_after_the_close(frames: list[bytes], draw: random.Random) -> bytes:
    frame, _ = pack_frame(16, len(frames), frames[-1][-32:], draw.randbytes(20))
    return b"".join([*frames, frame])


def cut(frames: list[bytes], draw: random.Random) -> bytes:
    data = b"".join(frames)
    return data[: draw.randrange(1, len(data))]


def rewrite_links(frames: list[bytes], draw: random.Random) -> bytes:
    del frames[draw.randrange(2, len(frames) - 1)]
    return rechained(frames, None)


def sign_anew(frames: list[bytes], draw: random.Random) -> bytes:
    del frames[draw.randrange(2, len(frames) - 1)]
    return rechained(frames, OTHER)


TAMPERINGS: list[tuple[Callable[[list[bytes], random.Random], bytes], set[str]]] = [
    (flip, {"flipped"}),
    (delete, {"deleted", "foreign"}),
    (reorder, {"reordered"}),
    (duplicate, {"duplicated"}),
    (insert_after_the_close, {"inserted"}),
    (cut, {"cut tail", "flipped"}),  # of the header itself only a flaw can be told
    (rewrite_links, {"forged head", "rewritten", "re-signed"}),
    (sign_anew, {"re-signed"}),
]


@pytest.mark.parametrize(("tamper", "names"), TAMPERINGS, ids=lambda x: getattr(x, "__name__", ""))
def test_tampering_is_named(
    tmp_path: Path, tamper: Callable[[list[bytes], random.Random], bytes], names: set[str]
) -> None:
    path = write(tmp_path / "a", second=tmp_path / "heads")
    original = frames_of(path)
    for seed in range(40):
        path.write_bytes(tamper(list(original), random.Random(seed)))
        report = verify_chain(path, RING, tmp_path / "heads")
        found = {f.name for f in report.findings if f.tampering}
        assert report.verdict == "tampered", seed
        assert found & names, (seed, report.findings)


def test_without_a_second_place_a_cut_file_is_never_intact(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    data = path.read_bytes()
    for end in range(1, len(data), 37):
        path.write_bytes(data[:end])
        assert verify_chain(path, RING).verdict in ("interrupted", "tampered")


def test_a_record_of_another_file_is_foreign(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", seed=1)
    ours, theirs = frames_of(a), frames_of(b)
    for number in range(1, len(ours) - 1):
        a.write_bytes(b"".join([*ours[:number], theirs[number], *ours[number + 1 :]]))
        report = verify_chain(a, RING)
        assert "foreign" in {f.name for f in report.findings}
        assert report.verdict == "tampered"


def test_a_whole_file_signed_by_a_trusted_key_does_not_replace_ours(tmp_path: Path) -> None:
    write(tmp_path / "a", second=tmp_path / "heads")
    other = write(tmp_path / "b")
    report = verify_chain(other, RING, tmp_path / "heads")
    assert {f.name for f in report.findings} == {"replaced", "second place behind"}
    assert report.verdict == "tampered"


def test_a_key_must_be_trusted_with_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    ring = KeyRing([Holder(person="A", public=KEY.public, roles=frozenset({"operator"}))])
    report = verify_chain(path, ring)
    assert {f.name for f in report.findings} >= {"re-signed"}
    assert report.verdict == "tampered"
    assert report.heads == 0


def test_a_cut_file_cannot_be_laundered_by_going_on_with_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a", second=tmp_path / "heads")
    path.write_bytes(b"".join(frames_of(path)[:15]))
    with pytest.raises(DamagedData, match="its tail was cut"):
        ChainWriter.open(path, KEY, tmp_path / "heads")
    assert len(frames_of(path)) == 15


def test_a_damaged_file_is_not_continued(tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    data = flip(frames_of(path), random.Random(1))
    path.write_bytes(data)
    with pytest.raises(DamagedData, match="verify it"):
        ChainWriter.open(path, KEY)
    assert path.read_bytes() == data


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with ChainWriter.create(tmp_path / "a", HEADER, KEY):
        with pytest.raises(WorkspaceBusy):
            ChainWriter.open(tmp_path / "a", KEY)
        with pytest.raises(InvalidConfig, match="exists"):
            ChainWriter.create(tmp_path / "a", HEADER, KEY)
    ChainWriter.open(tmp_path / "a", KEY).close()


def test_a_removed_or_altered_file_is_noticed_at_the_next_record(tmp_path: Path) -> None:
    writer = ChainWriter.create(tmp_path / "a", HEADER, KEY)
    writer.append(16, b"1")
    with (tmp_path / "a").open("ab") as file:
        file.write(b"?")
    with pytest.raises(StorageError, match="others wrote"):
        writer.append(16, b"2")
    (tmp_path / "a").unlink()
    with pytest.raises(StorageError, match="removed"):
        writer.append(16, b"2")
    writer.abandon()


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, None])
def test_a_refused_or_short_write_leaves_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int | None
) -> None:
    """None stands for a write that stores a part, as on a disk that becomes full in it."""
    writer = ChainWriter.create(tmp_path / "a", HEADER, KEY)
    writer.append(16, b"kept")
    real = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if fault is not None:
            raise OSError(fault, os.strerror(fault))
        return real(descriptor, data[:40])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(StorageError, match="could not be written"):
            writer.append(16, b"lost")
    writer.append(16, b"again")
    writer.close()
    assert [payload for _, payload in read_chain(tmp_path / "a")] == [b"kept", b"again"]
    assert verify_chain(tmp_path / "a", RING).verdict == "intact"


RECORDER = """
import os, sys
from pathlib import Path
from loopwright.safety.chain import ChainWriter
from loopwright.safety.keys import SigningKey
writer = ChainWriter.create(Path(sys.argv[1]), None, SigningKey.new(), Path(sys.argv[2]))
for number in range(10**9):
    writer.append(16, number.to_bytes(8, "little") * 30)
    os.write(1, b"+")
    if number % 500 == 499:
        writer.checkpoint()
"""


def test_nothing_confirmed_is_lost_by_kill_9(tmp_path: Path) -> None:
    for kill in range(3):
        path, heads = tmp_path / f"{kill}", tmp_path / f"{kill}.heads"
        child = subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(path), str(heads)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        confirmed = len(child.stdout.read(800 * (kill + 1)))
        child.kill()
        confirmed += len(child.communicate()[0])
        assert len(list(read_chain(path))) >= confirmed
        ChainWriter.open(path, KEY, heads).close()


def test_the_window_is_what_came_after_the_last_head_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "a", 25, second=tmp_path / "heads", close=False)
    data = path.read_bytes()
    last_head = max(end for end, kind in ends_of(path) if kind == KIND_HEAD)
    assert last_head < len(data)
    near = {last_head - 1, last_head, last_head + 1}
    for end in sorted({*range(last_head - 300, len(data), 13), *near}):
        path.write_bytes(data[:end])
        expected = "tampered" if end < last_head else "interrupted"
        assert verify_chain(path, RING, tmp_path / "heads").verdict == expected, end


def ends_of(path: Path) -> list[tuple[int, int]]:
    """Where every frame ends, and its kind."""
    frames = parse(path.read_bytes())
    return [(at + 56 + len(payload) + 32, kind) for at, kind, _, payload, _ in frames]


def test_a_second_place_may_lack_the_very_last_head_without_a_finding(tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    path = write(tmp_path / "a", second=heads)
    lines = heads.read_bytes().splitlines(keepends=True)
    heads.write_bytes(b"".join(lines[:-1]))
    assert verify_chain(path, RING, heads).findings == ()
    heads.write_bytes(b"".join(lines[:-2]) + lines[-2][:-40])  # and one is torn
    report = verify_chain(path, RING, heads)
    assert {f.name for f in report.findings} == {"second place behind"}
    assert report.verdict == "intact"
    ChainWriter.open(path, KEY, heads).close()
    assert verify_chain(path, RING, heads).verdict == "intact"


def test_a_second_place_that_was_altered_is_named(tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    path = write(tmp_path / "a", second=heads)
    lines = heads.read_bytes().splitlines(keepends=True)
    for wrong, name in (
        (lines[2].replace(b'"event":"checkpoint"', b'"event":"closed"'), "forged head"),
        (b"00" + lines[2][2:], "forged head"),
        (b"zz" + lines[2][2:], "second place altered"),
    ):
        heads.write_bytes(b"".join([*lines[:2], wrong, *lines[3:]]))
        report = verify_chain(path, RING, heads)
        assert name in {f.name for f in report.findings}
        assert report.verdict == "tampered"


def test_heads_of_several_chains_share_a_folder_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    for second in (tmp_path / "second", tmp_path / "all.heads"):
        paths = [write(tmp_path / f"{second.name}-{n}", second=second, seed=n) for n in range(3)]
        for path in paths:
            assert verify_chain(path, RING, second).verdict == "intact"
    paths[0].write_bytes(b"".join(frames_of(paths[0])[:9]))
    names = {f.name for f in verify_chain(paths[0], RING, second).findings}
    assert names == {"cut tail", "not closed"}


def test_heads_are_signed_while_another_thread_appends(tmp_path: Path) -> None:
    writer = ChainWriter.create(tmp_path / "a", HEADER, KEY, tmp_path / "heads")
    signer = threading.Thread(target=lambda: [writer.checkpoint() for _ in range(30)])
    signer.start()
    numbers = []
    while signer.is_alive() or len(numbers) < 3:
        numbers.append(writer.append(16, b"x" * 100))
    writer.close()
    report = verify_chain(tmp_path / "a", RING, tmp_path / "heads")
    assert (report.verdict, report.heads) == ("intact", 32)
    assert [frame.sequence for frame in read_chain(tmp_path / "a").frames()] == numbers
    assert [f.sequence for f in read_chain(tmp_path / "a").frames(since=numbers[-3])] == numbers[
        -3:
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"key":[]}',
        b'{"file":"","sequence":[],"digest":"","num_bytes":0,"time_ns":0,'
        b'"event":"closed","key":"k"}',
        b'{"file":"","sequence":0,"digest":"","num_bytes":0,"time_ns":0,"event":{},"key":"k"}',
        b'{"file":"","sequence":0,"digest":"","num_bytes":0,"time_ns":0,'
        b'"event":"closed","key":["k"]}',
    ],
)
def test_odd_heads_and_headers_are_findings_and_no_crash(tmp_path: Path, raw: bytes) -> None:
    frames = frames_of(write(tmp_path / "a"))
    path = tmp_path / "odd"
    head, _ = pack_frame(KIND_HEAD, len(frames), frames[-1][-32:], bytes(64) + raw)
    path.write_bytes(b"".join([*frames, head]))
    assert "forged head" in {f.name for f in verify_chain(path, RING).findings}
    path.write_bytes(pack_frame(1, 0, NO_DIGEST, raw)[0])
    assert verify_chain(path, RING).verdict == "tampered"
    with pytest.raises(DamagedData):
        read_chain(path)


def test_a_second_place_that_was_full_for_a_while_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, heads = tmp_path / "a", tmp_path / "heads"
    writer = ChainWriter.create(path, HEADER, KEY, heads)
    real, full = os.write, [0, 50, 0]

    def short(descriptor: int, data: bytes) -> int:
        if data.endswith(b"}\n"):
            return real(descriptor, data[: full.pop()])
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        for _ in range(3):
            writer.append(16, b"x")
            with pytest.raises(StorageError, match="part of a head"):
                writer.checkpoint()
    writer.checkpoint()
    writer.close()
    report = verify_chain(path, RING, heads)
    assert report.verdict == "intact"
    assert {f.name for f in report.findings} == {"second place behind"}
