"""The black box: what a kill -9 loses, what a record costs, and which tampering goes unnoticed.

A recorder in a process of its own takes a step of a seven-joint arm a thousand times a second and
says the number of each over a pipe once ``step`` has returned. It gets SIGKILL at random moments;
then the file is read and held against what was said. Beside it the ``mcap`` package, as it is
handed to its users, records the same bytes in the same way.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from benchmarks.tampering import OPERATORS_KEY, TAMPERINGS, frames_of
from loopwright.core.errors import MissingExtra
from loopwright.core.statistics import clopper_pearson
from loopwright.safety.blackbox import BlackBox, FlightHeader, StepRecord, read_flight
from loopwright.safety.blackbox.fields import Layout
from loopwright.safety.body import BodySpec, RobotEntry
from loopwright.safety.chain import ChainWriter, verify_chain
from loopwright.safety.keys import Holder, KeyRing, SigningKey

SEED, SIZE, RATE_HZ = 20261122, 7, 1000
LONGEST_LIFE_S = 3.0
"""A recorder is killed this long after its first step at the latest; three checkpoints fit in."""
KEY = SigningKey.new()
RING = KeyRing(
    [
        Holder(person="recorder", public=KEY.public, roles=frozenset({"recorder"})),
        Holder(person="somebody", public=OPERATORS_KEY.public, roles=frozenset({"operator"})),
    ]
)
RIVALS = {"mcap, default": {}, "mcap, no chunks, buffering=0": {"use_chunking": False}}


def header() -> FlightHeader:
    names = tuple(f"joint{n}" for n in range(SIZE))
    return FlightHeader(
        robot_id="arm",
        robot=RobotEntry(body="none"),
        body=BodySpec(
            robot="arm7",
            coordinates=names,
            units=("rad",) * SIZE,
            kinds=("speed",) * SIZE,
            points=(),
            rate_hz=RATE_HZ,
            safe_state="hold-position",
            build="none",
        ),
        candidate="none",
        certificate="none",
        filter="none",
        limits={},
        instruction="move",
        build="none",
    )


def steps() -> Any:
    """Yield step after step; every number another one, so that nothing compresses away."""
    draw = np.random.default_rng(SEED)
    number = 0
    while True:
        for wish, position, speed, applied in draw.normal(size=(256, 4, SIZE)):
            yield StepRecord(
                sequence=number,
                monotonic_s=time.monotonic(),
                requested=wish,
                request_age_s=0.004,
                position=position,
                speed=speed,
                sensor_age_s=0.001,
                applied=applied,
                reason=0,
                margin=0.5,
                stopping=False,
                directive_epoch=1,
                lease_left_s=20.0,
            )
            number += 1


class OurRecorder:
    """The black box, with its second place beside it."""

    def __init__(self, path: Path, key: SigningKey) -> None:
        self._box = BlackBox(path, header(), key, path.with_suffix(".heads"))
        self.step = self._box.step
        self.close = self._box.close


class McapRecorder:
    """The writer of the ``mcap`` package, given the same bytes."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        try:
            from mcap.writer import Writer
        except ImportError as error:
            raise MissingExtra("mcap", "mcap", "the rival of this benchmark") from error
        self._layout = Layout(SIZE)
        self._file = path.open("wb", buffering=0 if options else -1)
        self._writer = Writer(self._file, **options)
        self._writer.start()
        schema = self._writer.register_schema("step", "", b"")
        self._channel = self._writer.register_channel("/step", "binary", schema)

    def step(self, record: StepRecord) -> None:
        time_ns = time.time_ns()
        self._writer.add_message(
            channel_id=self._channel,
            log_time=time_ns,
            publish_time=time_ns,
            sequence=record.sequence,
            data=self._layout.pack(record),
        )

    def close(self) -> None:
        self._writer.finish()
        self._file.close()


def make_recorder(name: str, path: Path) -> OurRecorder | McapRecorder:
    if name == "ours":
        return OurRecorder(path, SigningKey.read(path.parent / "key"))
    return McapRecorder(path, RIVALS[name])


def record(name: str, path: Path) -> None:
    """Be the recorder: 1 kHz, without an end."""
    recorder = make_recorder(name, path)
    due_s = time.monotonic()
    for step in steps():
        recorder.step(step)
        os.write(1, step.sequence.to_bytes(8, "little"))
        due_s += 1 / RATE_HZ
        time.sleep(max(0.0, due_s - time.monotonic()))


@dataclass
class Campaign:
    """What became of all killed recorders of one kind."""

    kills: int = 0
    said: int = 0
    lost: int = 0
    most_lost: int = 0
    all_lost: int = 0
    torn: int = 0
    alarms: int = 0
    not_resumed: int = 0
    unsigned: list[int] = field(default_factory=list)

    def take(self, said: int, kept: set[int]) -> None:
        lost = said - len(kept & set(range(said)))
        self.kills += 1
        self.said += said
        self.lost += lost
        self.most_lost = max(self.most_lost, lost)
        self.all_lost += lost == said


def strike(name: str, path: Path, campaign: Campaign, life_s: float) -> None:
    """Start a recorder, kill it, and hold what is left against what it had said."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.blackbox", "--record", name, str(path)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    first = child.stdout.read(8)
    time.sleep(life_s)
    child.kill()
    said = len(first + child.communicate()[0]) // 8
    if not said:
        raise RuntimeError(f"the recorder {name!r} failed by itself")
    if name != "ours":
        campaign.take(said, set(read_mcap(path)))
        return
    flight, heads = read_flight(path), path.with_suffix(".heads")
    campaign.take(said, set(flight.steps["sequence"].tolist()))
    report = verify_chain(path, RING, heads)
    campaign.torn += flight.torn_bytes > 0
    campaign.alarms += report.verdict != "interrupted"
    campaign.unsigned.append(report.unsigned)
    ChainWriter.open(path, KEY, heads).close()
    campaign.not_resumed += verify_chain(path, RING, heads).verdict != "intact"


def read_mcap(path: Path) -> list[int]:
    """Read what the package's own reader for unfinished files gives back."""
    from mcap.exceptions import McapError
    from mcap.records import Message
    from mcap.stream_reader import StreamReader

    found: list[int] = []
    with path.open("rb") as file:
        try:
            for record in StreamReader(file).records:
                if isinstance(record, Message):
                    found.append(record.sequence)
        except (McapError, EOFError):
            pass
    return found


def kill(bench: Benchmark, folder: Path) -> Campaign:
    """Kill recorders of all kinds."""
    draw = random.Random(SEED)
    counts = {"ours": 6 if bench.quick else 100, **dict.fromkeys(RIVALS, 2 if bench.quick else 20)}
    campaigns = {name: Campaign() for name in counts}
    for name, kills in counts.items():
        for number in bench.track(range(kills), f"kill -9, {name}"):
            path = folder / f"{name[:4]}-{len(name)}-{number}"
            strike(name, path, campaigns[name], draw.uniform(0.02, LONGEST_LIFE_S))
            path.unlink()
    ours = campaigns["ours"]
    rivals = "; ".join(
        f"{name}: {c.lost} of {c.said} in {c.kills} kills, at most {c.most_lost}, "
        f"everything in {c.all_lost}"
        for name, c in campaigns.items()
        if name != "ours"
    )
    rows = (
        ("acknowledged records lost", ours.lost, ours.said, "<= 0", rivals),
        ("killed files called tampered, or closed", ours.alarms, ours.kills, "<= 0", ""),
        ("killed files that could not be continued", ours.not_resumed, ours.kills, "<= 0", ""),
        ("torn tails", ours.torn, ours.kills, "", ""),
    )
    for metric, value, n, target, rival in rows:
        bench.add(
            Measurement(
                metric=f"kill -9 at 1 kHz: {metric}",
                value=value,
                unit="count",
                n=n,
                target=target,
                compared_with=rival,
            )
        )
    bench.note(
        f"{ours.kills} SIGKILLs; records after the last signed head: median "
        f"{np.median(ours.unsigned):.0f}, most {max(ours.unsigned)} (a head a second)"
    )
    return ours


def cost(bench: Benchmark, folder: Path) -> None:
    """Measure CPU time of the recording thread, record by record."""
    flat, paced = (20_000, 2_000) if bench.quick else (200_000, 10_000)
    # After each millisecond of sleep the processor's caches are others': a record costs more.
    for label, count, every_s in (("one after the other", flat, 0.0), ("1 kHz", paced, 0.001)):
        us = {}
        for name in ("ours", *RIVALS):
            path = folder / f"{name[:4]}-{len(name)}-{count}"
            us[name] = _cost_us(make_recorder(name, path), count, every_s)
        for share, word in ((50, "median"), (99, "99th percentile")):
            value = {name: float(np.percentile(spent, share)) for name, spent in us.items()}
            bench.add(
                Measurement(
                    metric=f"CPU per record, packing included, {label}: {word}",
                    value=value["ours"],
                    unit="us CPU",
                    n=count,
                    target="<= 10" if share == 50 and not every_s else "",
                    compared_with="; ".join(f"{name}: {value[name]:.1f}" for name in RIVALS),
                )
            )
    bench.note(f"of each of these, {_clock_us():.2f} us (median) are the reading of the clock")
    path = folder / f"ours-4-{flat}"
    bench.note(
        f"{path.stat().st_size / flat:.0f} bytes a record of {SIZE} joints, checkpoints included"
    )
    begin_s = time.process_time()
    records = verify_chain(path, RING, path.with_suffix(".heads")).records
    bench.add(
        Measurement(
            metric="verifying",
            value=records / (time.process_time() - begin_s) / 1000,
            unit="k records/CPU-s",
            n=records,
        )
    )


def _cost_us(recorder: OurRecorder | McapRecorder, count: int, every_s: float) -> np.ndarray:
    source, spent_ns = steps(), np.empty(count)
    due_s = time.monotonic()
    for number in range(count):
        step = next(source)
        begin_ns = time.thread_time_ns()
        recorder.step(step)
        spent_ns[number] = time.thread_time_ns() - begin_ns
        due_s += every_s
        if every_s:
            time.sleep(max(0.0, due_s - time.monotonic()))
    recorder.close()
    return spent_ns / 1000


def _clock_us() -> float:
    spent = []
    for _ in range(10_000):
        begin_ns = time.thread_time_ns()
        spent.append(time.thread_time_ns() - begin_ns)
    return float(np.median(spent)) / 1000


def write_flight(path: Path, records: int, draw: random.Random) -> Path:
    """Write a closed flight with some checkpoints."""
    layout, source = Layout(SIZE), steps()
    with ChainWriter.create(path, header().to_json(), KEY, path.with_suffix(".heads")) as writer:
        for _ in range(records):
            writer.append(16, layout.pack(next(source)))
            if draw.random() < 0.02:
                writer.checkpoint()
    return path


def tamper(bench: Benchmark, folder: Path) -> None:
    """Tamper at random with files of many lengths."""
    draw = random.Random(SEED)
    lengths = [1, 2, 3, 10, 50, 200, 1000]
    files = [write_flight(folder / f"t{n}", n, draw) for n in lengths]
    files += [write_flight(folder / f"u{n}", n, draw) for n in lengths]
    whole = [frames_of(path) for path in files]
    done, noticed, named, alone = Counter(), Counter(), Counter(), Counter()
    target = folder / "tampered"
    for _ in bench.track(range(100 if bench.quick else 1000), "tampering"):
        what = draw.choice(list(TAMPERINGS))
        act, names = TAMPERINGS[what]
        number = draw.randrange(len(files))
        original = b"".join(whole[number])
        data = act(list(whole[number]), whole[(number + 7) % len(files)], draw)
        if data == original:
            continue
        target.write_bytes(data)
        done[what] += 1
        report = verify_chain(target, RING, files[number].with_suffix(".heads"))
        noticed[what] += report.verdict == "tampered"
        named[what] += bool(names & {f.name for f in report.findings})
        alone[what] += verify_chain(target, RING).verdict != "intact"
        if report.verdict != "tampered":
            bench.note(f"not noticed: {what} in a file of {len(whole[number])} frames")
    for what, n in sorted(done.items()):
        bench.add(
            Measurement(
                metric=f"noticed: {what}",
                value=noticed[what] / n,
                unit="share",
                n=n,
                interval=clopper_pearson(noticed[what], n),
                target=">= 1",
                compared_with=f"named as expected {named[what]}; without the second place "
                f"not called intact {alone[what]}",
            )
        )
    bench.add(
        Measurement(
            metric="tamperings noticed, all kinds",
            value=noticed.total(),
            unit="count",
            n=done.total(),
            target=f">= {done.total()}",
        )
    )
    untouched(bench, folder, draw)


def untouched(bench: Benchmark, folder: Path, draw: random.Random) -> None:
    """Verify files that nobody touched."""
    count, alarms = 30 if bench.quick else 300, 0
    for number in bench.track(range(count), "untouched files"):
        path = write_flight(folder / f"v{number}", int(10 ** draw.uniform(0, 3)), draw)
        alarms += verify_chain(path, RING, path.with_suffix(".heads")).verdict != "intact"
        alarms += verify_chain(path, RING).verdict != "intact"
    bench.add(
        Measurement(
            metric="alarms on untouched closed files",
            value=alarms,
            unit="count",
            n=2 * count,
            target="<= 0",
        )
    )


def main() -> None:
    if sys.argv[1:2] == ["--record"]:
        record(sys.argv[2], Path(sys.argv[3]))
        return
    with (
        Benchmark("blackbox", "The black box", seeds=(SEED,)) as bench,
        tempfile.TemporaryDirectory(prefix="blackbox-") as name,
    ):
        folder = Path(name)
        KEY.write(folder / "key")
        kill(bench, folder)
        cost(bench, folder)
        tamper(bench, folder)


if __name__ == "__main__":
    main()
