"""How fast a directive stops the deployments it matches, and how a cut network stops all of them.

Every deployment is a process of its own that polls ten times a second, as a control loop does, and
writes down the moment from which it may not move. A *fleet* process forks them, so that they share
their memory. Matches of different kinds take turns; after each the directive is released.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.digest import digest_json
from loopwright.safety.accountability import who
from loopwright.safety.admission import ADMISSIONS, filed_under
from loopwright.safety.chain.frames import Walk, pack_frame
from loopwright.safety.decision import Reason
from loopwright.safety.directive.deployment import Deployment, deployed
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import Directive, release
from loopwright.safety.directive.tower import Tower
from loopwright.safety.directive.watch import DirectiveWatch, WatchConfig
from loopwright.safety.entry import pack
from loopwright.safety.keys import ROLES, Holder, KeyRing, SigningKey
from loopwright.safety.register import CHAIN_NAME, Register
from loopwright.safety.statement import Signed, Statement

if TYPE_CHECKING:  # the fleet must stay small
    from benchmarks.harness import Benchmark

RATE_HZ = 10.0
SEED = 20261122
_SLOT = struct.Struct("<dq")
"""Moment since which a deployment may not move, by the clock since boot, 0 while it may; and the
reason."""


def digest_of(*name: object) -> str:
    """Return a digest that stands for something of that name."""
    return digest_json([str(part) for part in name])


def fleet_of(size: int) -> list[Deployment]:
    """Return deployments that differ in everything a directive can match."""
    return [
        Deployment(
            id=f"cell-{i}",
            robot=f"arm{i % 3}-v1",
            scenario=f"task{i % 4}-v1",
            identity={
                "candidate": digest_of("candidate", i % 20),
                "scenario": digest_of("scenario", i % 4),
                "robot": digest_of("robot", i % 3),
                "filter": digest_of("filter", i % 5),
                "build": digest_of("build", i % 2),
            },
            ancestors=(digest_of("model", i % 6), digest_of("snapshot", i % 7)),
        )
        for i in range(size)
    ]


MATCHES: dict[str, Callable[[int], Clause]] = {
    "candidate": lambda k: Clause(candidate=(digest_of("candidate", k % 20),)),
    "ancestor model": lambda k: Clause(lineage=(digest_of("model", k % 6),)),
    "data snapshot": lambda k: Clause(lineage=(digest_of("snapshot", k % 7),)),
    "robot": lambda k: Clause(robot=(f"arm{k % 3}-v1",)),
    "scenario": lambda k: Clause(scenario=(f"task{k % 4}-v1",)),
    "filter": lambda k: Clause(filter=(digest_of("filter", k % 5),)),
    "robot and build": lambda k: Clause(
        robot=(f"arm{k % 3}-v1",), build=(digest_of("build", k % 2),)
    ),
}


@dataclass
class Site:
    """Keys, ring and register of the benchmark."""

    folder: Path

    def __post_init__(self) -> None:
        """Draw keys, begin the register."""
        self.keys = {role: SigningKey.new() for role in ROLES}
        self.ring = KeyRing(
            Holder(person=f"the {role}", public=key.public, roles=frozenset({role}))
            for role, key in self.keys.items()
        )
        self.place, self.memory = self.folder / "register", self.folder / "memory"
        (self.folder / "ring.json").write_text(json.dumps(self.ring.to_json()))
        self.keys["tower"].write(self.folder / "tower.key")
        self.register = Register.create(
            self.place, self.ring, self.keys["authority"], memory=self.memory
        )

    def order(self, clause: Clause, reason: str) -> str:
        """Issue a directive to ground; return its digest."""
        directive = Directive(
            number=self.register.last_directive + 1,
            match=Match(any_of=(clause,)),
            action="ground",
            reason=reason,
        )
        statement = directive.statement(self.register.id)
        self.register.append(Signed.by(statement, self.keys["authority"]))
        return statement.digest

    def release(self, directive: str) -> None:
        """End a directive."""
        said = {"closes": directive}
        shown = Statement(kind="evidence/v1", subjects={}, predicate=said)
        self.register.append(Signed.by(shown, self.keys["operator"]))
        over = release(self.register.id, directive, evidence=[shown.digest])
        self.register.append(Signed.by(over, self.keys["authority"]))


# --- processes -----------------------------------------------------------------------------------


def run_deployment(folder: Path, deployment: Deployment, slot: int, lease_s: float) -> None:
    """Poll at the control rate, and write down since when nothing may move."""
    with (folder / "slots").open("r+b") as file:
        board = mmap.mmap(file.fileno(), 0)
    ring = KeyRing.read(folder / "ring.json")
    memory = folder / f"memory-{deployment.id}"
    shutil.copytree(folder / "memory", memory)
    config = WatchConfig(memory=memory, lease_s=lease_s)
    watch = DirectiveWatch(folder / "register", ring, deployment, config)
    period_s, parent = 1 / RATE_HZ, os.getppid()
    due_s = time.monotonic() + period_s * random.random()
    stopped = True
    while os.getppid() == parent:
        time.sleep(max(0.0, due_s - time.monotonic()))
        due_s += period_s
        standing = watch.poll()
        if standing.may_move == stopped:
            stopped = not stopped
            since_s = now_s() if stopped else 0.0
            _SLOT.pack_into(board, slot * _SLOT.size, since_s, standing.reason)


def run_fleet(folder: Path, size: int, lease_s: float) -> None:
    """Fork the deployments and wait for them."""
    gc.collect()
    gc.freeze()
    for slot, deployment in enumerate(fleet_of(size)):
        if os.fork() == 0:
            run_deployment(folder, deployment, slot, lease_s)
            os._exit(0)
        time.sleep(0.005)
    print("forked", flush=True)
    signal.pause()


def run_tower(folder: Path, lease_s: float) -> None:
    """Renew leases until killed."""
    key, ring = SigningKey.read(folder / "tower.key"), KeyRing.read(folder / "ring.json")
    tower = Tower(folder / "register", ring, key, memory=folder / "memory", lease_s=lease_s)
    tower.run(threading.Event())


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run this file as another process, and end it."""
    running = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


class Board:
    """Since when each deployment may not move."""

    def __init__(self, folder: Path, size: int) -> None:
        """Lay out the shared memory; at first nothing may move."""
        (folder / "slots").write_bytes(_SLOT.pack(1.0, 0) * size)
        with (folder / "slots").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._size = size

    def stopped(self) -> dict[int, float]:
        """Return slot to moment, of those that may not move."""
        moments = (_SLOT.unpack_from(self._map, i * _SLOT.size)[0] for i in range(self._size))
        return {slot: moment for slot, moment in enumerate(moments) if moment}

    def reason(self, slot: int) -> Reason:
        """Return why a deployment stopped last."""
        return Reason(_SLOT.unpack_from(self._map, slot * _SLOT.size)[1])

    def wait_for(self, slots: set[int], within_s: float) -> None:
        """Wait until all of these may not move."""
        end_s = time.monotonic() + within_s
        while not slots <= set(self.stopped()) and time.monotonic() < end_s:
            time.sleep(0.02)

    def wait(self, count: int, within_s: float) -> dict[int, float]:
        """Wait until that many may not move; return them however many they are."""
        end_s = time.monotonic() + within_s
        while len(found := self.stopped()) != count and time.monotonic() < end_s:
            time.sleep(0.02)
        return found


def now_s() -> float:
    """Return what the deployments write down moments by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- what is measured ----------------------------------------------------------------------------


@dataclass
class Orders:
    """What came of the directives."""

    last_s: list[float]
    """From issuing to the last affected deployment that stopped, by directive."""
    each_s: list[float]
    """The same of every affected deployment."""
    missed: int = 0
    wrong: list[str] = field(default_factory=list)
    """Reason of each deployment that stopped without being affected."""


def measure_orders(site: Site, board: Board, fleet: list[Deployment], rounds: int) -> Orders:
    """Issue directives one after the other, each matched in another way."""
    orders = Orders([], [])
    kinds = list(MATCHES)
    for number in range(rounds):
        kind = kinds[number % len(kinds)]
        clause = MATCHES[kind](number)
        affected = {i for i, deployment in enumerate(fleet) if clause.fits(deployment)}
        began_s = now_s()
        digest = site.order(clause, f"benchmark, by {kind}")
        board.wait_for(affected, 10)
        time.sleep(2 / RATE_HZ)  # time for somebody to stop who should not
        stopped = board.stopped()
        orders.wrong += [board.reason(slot).name for slot in set(stopped) - affected]
        orders.missed += len(affected - set(stopped))
        times = [stopped[slot] - began_s for slot in affected & set(stopped)]
        orders.each_s += times
        orders.last_s.append(max(times, default=float("inf")))
        site.release(digest)
        board.wait(0, 10)
    return orders


def measure_cut(board: Board, size: int, lease_s: float, cut: Callable[[], None]) -> list[float]:
    """Cut the deployments off; return how long after each of them stopped."""
    began_s = now_s()
    cut()
    stopped = board.wait(size, lease_s + 20)
    return [moment - began_s for moment in stopped.values()]


def measure_cuts(
    site: Site, board: Board, size: int, lease_s: float
) -> dict[str, tuple[list[float], int]]:
    """Cut the network in three ways; return the times, and how many did not stop."""
    results: dict[str, tuple[list[float], int]] = {}
    away = site.folder / "away"
    for how in ("tower killed", "tower paused (SIGSTOP)", "register out of reach"):
        with process("tower", site.folder, lease_s) as tower:
            if len(board.wait(0, 3 * lease_s + 30)):
                raise RuntimeError("not all deployments got a lease")
            cuts = {
                "tower killed": tower.kill,
                "tower paused (SIGSTOP)": lambda t=tower: t.send_signal(signal.SIGSTOP),
                "register out of reach": lambda: site.place.rename(away),
            }
            times = measure_cut(board, size, lease_s, cuts[how])
            results[how] = times, size - len(times)
        if away.exists():
            away.rename(site.place)
    return results


def measure_poll(folder: Path) -> list[float]:
    """Return microseconds of CPU per poll, as means of a thousand."""
    site = Site(folder)
    deployment = fleet_of(1)[0]
    site.register.append(
        Signed.by(deployed(site.register.id, deployment, 0.0), site.keys["operator"])
    )
    stop = threading.Event()
    tower = Tower(site.place, site.ring, site.keys["tower"])
    thread = threading.Thread(target=tower.run, args=(stop,))
    thread.start()
    watch = DirectiveWatch(site.place, site.ring, deployment)
    while not watch.poll().may_move:
        time.sleep(0.05)
    poll, samples = watch.poll, []
    for _ in range(200):
        began_ns = time.thread_time_ns()
        for _ in range(1000):
            poll()
        samples.append((time.thread_time_ns() - began_ns) / 1e6)
    stop.set()
    thread.join()
    watch.close()
    tower.close()
    return samples


def big_register(site: Site, entries: int) -> list[str]:
    """Fill a register with a believable mixture; return the ids of deployments."""
    chance = random.Random(SEED)
    keys, register = site.keys, site.register.id
    plans: list[Statement] = []
    certificates: list[Statement] = []
    ids: list[str] = []
    bases = fleet_of(60)

    def one(index: int) -> Signed:
        draw = chance.random()
        if index < 20 or draw < 0.0005:
            said = {"level": "D", "of": index}
            plans.append(Statement(kind="test-plan/v1", subjects={}, predicate=said))
            return Signed.by(plans[-1], keys["proposer"])
        if index < 40 or draw < 0.005:
            said = {"plan": chance.choice(plans).digest, "level": "D", "of": index}
            certificates.append(Statement(kind="certificate/v1", subjects={}, predicate=said))
            return Signed.by(certificates[-1], keys["proposer"], keys["approver"])
        if index < 60 or draw < 0.05:
            ids.append(f"cell-{index % 800}")
            base = bases[index % 60]
            cell = Deployment(
                id=ids[-1],
                robot=base.robot,
                scenario=base.scenario,
                identity=base.identity,
                ancestors=base.ancestors,
                certificate=chance.choice(certificates).digest,
            )
            return Signed.by(deployed(register, cell, float(index)), keys["operator"])
        if draw < 0.055:
            clause = MATCHES[chance.choice(list(MATCHES))](index)
            order = Directive(
                number=index, match=Match(any_of=(clause,)), action="ground", reason=f"no {index}"
            ).statement(register)
            return Signed.by(order, keys["authority"])
        if draw < 0.1:
            said = {"deployment": chance.choice(ids), "what": f"brake trip {index}"}
            report = Statement(kind="occurrence/v1", subjects={}, predicate=said)
            return Signed.by(report, keys["recorder"])
        said = {"plan": chance.choice(plans).digest, "from": index, "trials": []}
        return Signed.by(Statement(kind="look/v1", subjects={}, predicate=said), keys["proposer"])

    path = site.place / CHAIN_NAME
    with path.open("rb") as file:
        walk = Walk(file)
        for _ in walk:
            pass
    sequence, digest = walk.sequence, walk.digest
    with path.open("ab") as file:
        for index in range(entries):
            signed = one(index)
            payload = pack(1.7e9 + index, filed_under(signed.statement), signed)
            sequence += 1
            code = ADMISSIONS[signed.statement.kind].code
            frame, digest = pack_frame(code, sequence, digest, payload)
            file.write(frame)
    return sorted(set(ids))


def measure_who(folder: Path, entries: int) -> dict[str, list[float]]:
    """Return CPU-seconds of opening a large register, and of asking who."""
    site = Site(folder)
    ids = big_register(site, entries)
    site.register.close()
    found: dict[str, list[float]] = {"first opening": [], "opening": [], "who": []}
    for label, times in (("first opening", 1), ("opening", 3)):
        for _ in range(times):
            began_s = time.process_time()
            register = Register.open(site.place, site.ring, memory=site.memory)
            found[label].append(time.process_time() - began_s)
    assert len(register) == entries
    found["bytes"] = [(site.place / CHAIN_NAME).stat().st_size]
    for name in random.Random(SEED).sample(ids, 60):
        began_s = time.process_time()
        answer = who(register, name, 3e9)
        found["who"].append(time.process_time() - began_s)
        assert answer.by("approved")
    return found


# --- the benchmark -------------------------------------------------------------------------------


def main() -> None:
    from benchmarks.harness import Benchmark

    with (
        Benchmark("directive", "Directives and leases", seeds=(SEED,)) as bench,
        tempfile.TemporaryDirectory(prefix="directive-", dir=_fast_folder()) as place,
    ):
        report_fleet(bench, Path(place) / "fleet")
        report_poll(bench, Path(place) / "poll")
        report_who(bench, Path(place) / "who")


def report_fleet(bench: Benchmark, folder: Path) -> None:
    """Measure directives and cuts on a fleet of processes."""
    from benchmarks.harness import Measurement

    size, lease_s = 200, 10.0 if bench.quick else 30.0
    rounds = 7 if bench.quick else 35
    folder.mkdir()
    site, board, fleet = Site(folder), Board(folder, size), fleet_of(size)
    for deployment in fleet:
        statement = deployed(site.register.id, deployment, 0.0)
        site.register.append(Signed.by(statement, site.keys["operator"]))
    site.register.remember()
    with process("fleet", folder, size, lease_s) as running:
        assert running.stdout is not None
        running.stdout.readline()
        bench.say(f"{size} deployments run")
        with process("tower", folder, lease_s):
            waiting = board.wait(0, 3 * lease_s + 30)
            if waiting:
                raise RuntimeError(f"{len(waiting)} deployments got no lease")
            orders = measure_orders(site, board, fleet, rounds)
        bench.say(f"{rounds} directives issued and released")
        cuts = measure_cuts(site, board, size, lease_s)
    each = sorted(orders.each_s)
    for name, value, target in (
        ("an affected deployment stops, p50", _quantile(each, 0.5), ""),
        ("an affected deployment stops, p99", _quantile(each, 0.99), "<= 2"),
        ("the last affected one stops, p50", statistics.median(orders.last_s), "<= 2"),
        ("the last affected one stops, p99", _quantile(sorted(orders.last_s), 0.99), "<= 2"),
    ):
        n = len(each) if name.startswith("an") else rounds
        bench.add(
            Measurement(
                metric=f"from issuing: {name}", value=value, unit="s wall", n=n, target=target
            )
        )
    for name, value in (
        ("affected, not stopped", orders.missed),
        ("stopped, not affected", len(orders.wrong)),
    ):
        bench.add(
            Measurement(
                metric=name, value=value, unit="deployments", n=rounds * size, target="<= 0"
            )
        )
    if orders.wrong:
        bench.note(f"stopped, not affected, by reason: {', '.join(sorted(orders.wrong))}")
    for how, (times, left) in cuts.items():
        bench.add(
            Measurement(
                metric=f"{how}: the last of {size} stops, lease {lease_s:g} s",
                value=max(times),
                unit="s wall",
                n=size,
                target=f"<= {lease_s + 1:g}",
                holds=left == 0 and max(times) <= lease_s + 1,
                compared_with=f"the first after {min(times):.1f} s; {left} never",
            )
        )
    bench.note(
        f"{size} processes at {RATE_HZ:g} Hz with a thread each, on the cores named; a stop is the "
        "first poll that forbids motion, braking not included."
    )


def report_poll(bench: Benchmark, folder: Path) -> None:
    """Measure what a poll costs."""
    from benchmarks.harness import Measurement

    folder.mkdir()
    samples = sorted(measure_poll(folder))
    for name, share in (("median", 0.5), ("p99", 0.99)):
        bench.add(
            Measurement(
                metric=f"poll in a control step, {name} of means of 1,000",
                value=_quantile(samples, share),
                unit="us CPU",
                n=len(samples),
                target="<= 1" if share == 0.5 else "",
            )
        )


def report_who(bench: Benchmark, folder: Path) -> None:
    """Measure a large register."""
    from benchmarks.harness import Measurement

    folder.mkdir()
    entries = 20_000 if bench.quick else 100_000
    found = measure_who(folder, entries)
    for name, values, target in (
        ("first opening, every signature verified", found["first opening"], ""),
        ("opening again, verified before", found["opening"], ""),
        ("who, median", [statistics.median(found["who"])], ""),
        ("who, slowest", [max(found["who"])], "<= 0.2"),
    ):
        bench.add(
            Measurement(
                metric=f"{entries:,} entries, {found['bytes'][0] / 2**20:.0f} MiB: {name}",
                value=statistics.median(values),
                unit="CPU-s",
                n=len(found["who"]) if name.startswith("who") else len(values),
                target=target,
            )
        )


def _quantile(values: list[float], share: float) -> float:
    """Return the smallest value that this share of sorted values does not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("inf")


def _fast_folder() -> str | None:
    """Return where temporary files lie in memory; the disk is shared with others."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    if sys.argv[1:2] == ["fleet"]:
        run_fleet(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["tower"]:
        run_tower(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main()
