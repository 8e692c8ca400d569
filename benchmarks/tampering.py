"""What somebody with write access, and without the recorder's key, can do to a chain file.

Each tampering gets the frames of a file, those of another one, and a random number generator; it
returns the bytes of the altered file. The table names what a verifier should call it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from loopwright.safety.chain.frames import FIRST_KIND, KIND_HEAD, NO_DIGEST, Walk, pack_frame
from loopwright.safety.keys import SigningKey

Frames = list[bytes]
Tampering = Callable[[Frames, Frames, random.Random], bytes]

UNKNOWN_KEY, OPERATORS_KEY = SigningKey.new(), SigningKey.new()
"""One that is on no ring, and one that is trusted with something else."""


def frames_of(path: Path) -> Frames:
    """Return the bytes of every frame of an untouched file."""
    data = path.read_bytes()
    with path.open("rb") as file:
        return [data[frame.begin : frame.end] for frame in Walk(file)]


def flip(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    data = bytearray(b"".join(frames))
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def overwrite(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    data = bytearray(b"".join(frames))
    length = draw.randrange(2, 400)
    begin = draw.randrange(max(1, len(data) - length))
    data[begin : begin + length] = draw.randbytes(length)
    return bytes(data)


def delete(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    begin = draw.randrange(1, len(frames) - 1)
    end = min(begin + draw.choice((1, 1, 2, 5)), len(frames) - 1)
    return b"".join(frames[:begin] + frames[end:])


def reorder(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    a, b = draw.sample(range(len(frames)), 2)
    frames[a], frames[b] = frames[b], frames[a]
    return b"".join(frames)


def duplicate(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    frames.insert(draw.randrange(len(frames) + 1), draw.choice(frames))
    return b"".join(frames)


def insert(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    """A record of one's own, linked to the one before it."""
    place = draw.randrange(1, len(frames) + 1)
    forged, _ = pack_frame(FIRST_KIND, place, frames[place - 1][-32:], draw.randbytes(300))
    return b"".join([*frames[:place], forged, *frames[place:]])


def swap(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    """A record of another file in the place of ours."""
    place = draw.randrange(1, min(len(frames), len(other)) - 1)
    return b"".join([*frames[:place], other[place], *frames[place + 1 :]])


def cut_tail(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    """At the end of a record, or anywhere in one."""
    if draw.random() < 0.5:
        return b"".join(frames[: draw.randrange(1, len(frames))])
    data = b"".join(frames)
    return data[: draw.randrange(1, len(data))]


def relink(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    """Without one record, and with all links made right again; heads as they were."""
    return _chained_anew(_without_one(frames, draw), None)


def sign_with_unknown_key(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    return _chained_anew(_without_one(frames, draw), UNKNOWN_KEY)


def sign_without_the_role(frames: Frames, other: Frames, draw: random.Random) -> bytes:
    return _chained_anew(_without_one(frames, draw), OPERATORS_KEY)


TAMPERINGS: dict[str, tuple[Tampering, frozenset[str]]] = {
    "flip a bit": (flip, frozenset({"flipped"})),
    "overwrite bytes": (overwrite, frozenset({"flipped"})),
    "delete records": (delete, frozenset({"deleted"})),
    "reorder records": (reorder, frozenset({"reordered"})),
    "duplicate a record": (duplicate, frozenset({"duplicated"})),
    "insert a record": (insert, frozenset({"inserted", "foreign"})),
    "swap records of two files": (swap, frozenset({"foreign"})),
    "cut the tail": (cut_tail, frozenset({"cut tail"})),
    "relink without a record": (relink, frozenset({"rewritten", "forged head"})),
    "re-sign, unknown key": (sign_with_unknown_key, frozenset({"re-signed"})),
    "re-sign, key without the role": (sign_without_the_role, frozenset({"re-signed"})),
}
"""What is done, and what it may be called."""


def _without_one(frames: Frames, draw: random.Random) -> Frames:
    records = [n for n, frame in enumerate(frames) if _kind(frame) >= FIRST_KIND]
    gone = draw.choice(records)
    return frames[:gone] + frames[gone + 1 :]


def _kind(frame: bytes) -> int:
    return int.from_bytes(frame[4:8], "little")


def _chained_anew(frames: Frames, key: SigningKey | None) -> bytes:
    """Number and link frames again; with a key, sign heads that fit them."""
    out, digest, ends = bytearray(), NO_DIGEST, []
    for number, frame in enumerate(frames):
        kind, payload = _kind(frame), frame[56:-32]
        if kind == KIND_HEAD and key is not None:
            covered = min(json.loads(payload[64:])["sequence"], number - 1)
            if number == len(frames) - 1:
                covered = number - 1
            head = json.loads(payload[64:]) | {
                "file": ends[0][0],
                "key": key.id,
                "sequence": covered,
                "digest": ends[covered][0],
                "num_bytes": ends[covered][1],
            }
            raw = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
            payload = key.sign(b"loopwright chain head v1\n" + raw) + raw
        packed, digest = pack_frame(kind, number, digest, payload)
        out += packed
        ends.append((digest.hex(), len(out)))
    return bytes(out)
