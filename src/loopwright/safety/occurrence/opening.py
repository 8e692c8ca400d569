"""From a flight to an entry in the register, frozen evidence and a scenario: the automatic part."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.core.errors import DamagedData, Unidentified, Untrusted
from loopwright.core.stage import resolve_entry
from loopwright.safety.blackbox import Flight, ReplayReport, plant_of, read_flight, replay
from loopwright.safety.body import Body
from loopwright.safety.chain import verify_chain
from loopwright.safety.chain.heads import heads_path
from loopwright.safety.entry import Entry
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.occurrence.configuration import Configuration, configuration_of
from loopwright.safety.occurrence.event import Event, OpeningRule, find_events, limits_of
from loopwright.safety.occurrence.evidence import DEFAULT_RETENTION_DAYS, EvidenceStore
from loopwright.safety.occurrence.minimise import Search, Shortest, minimise
from loopwright.safety.occurrence.record import Occurrence, occurrences_of
from loopwright.safety.occurrence.regression import (
    Regression,
    digest_of_file,
    make_body,
    robot_digest_of,
)
from loopwright.safety.occurrence.rerun import Sought, Stage
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement

REGRESSION = "regression/v1"
FLIGHT, HEADS = "flight", "heads"
"""Names of the files of frozen evidence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where occurrences of a site go."""

    register: Register
    store: EvidenceStore
    suite: Path
    """Folder of the regression scenarios."""
    key: SigningKey
    """Of a recorder, an operator or an investigator; nobody has to be asked."""
    rule: OpeningRule = field(default_factory=OpeningRule)
    retain_days: int = DEFAULT_RETENTION_DAYS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opened:
    """An occurrence with its evidence."""

    entry: Entry
    occurrence: Occurrence
    flight: Flight
    """Read from the frozen evidence."""
    body: Body


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scenario:
    """A regression scenario in the suite."""

    file: Path
    entry: int
    """Number in the register."""
    regression: Regression
    shortest: Shortest


def open_occurrence(
    path: Path, site: Site, *, now_s: float, heads: Path | None = None
) -> Opened | None:
    """Open an occurrence if the rule finds one in a flight; freeze its evidence first.

    A flight is opened once: asked again, the occurrence that is there is returned.

    Args:
        path: The recording.
        site: Where it goes.
        now_s: Seconds since 1970.
        heads: The second place of the recording: a file, or a folder of them.

    Returns:
        None where the flight shows nothing.

    Raises:
        Untrusted: The recording is not what was recorded, or by none of the site's recorders.
        DamagedData: It cannot be read.
    """
    refuse_tampered(path, site.register.ring, heads)
    flight = read_flight(path)
    for entry in occurrences_of(site.register, flight.id):
        return reopen(entry, site.register, site.store)
    body = make_body(flight.header.robot, trusted=True)
    events = find_events(flight, body, site.rule)
    if not events:
        return None
    files = {FLIGHT: path, **_heads_of(heads, path)}
    frozen = site.store.freeze(
        files,
        key=site.key,
        now_s=now_s,
        about={"flight": flight.id, "robot_id": flight.header.robot_id},
        retain_days=site.retain_days,
    )
    site.register.append(frozen)
    said = _occurrence(flight, events, frozen, site, now_s)
    number = site.register.append(Signed.by(said.statement(site.register.id), site.key))
    return reopen(site.register.entry(number), site.register, site.store)


def reopen(entry: Entry, register: Register, store: EvidenceStore) -> Opened:
    """Return an occurrence from the register, with its evidence verified and read.

    Raises:
        DamagedData: The evidence is not what was frozen, or it was not opened from a flight.
        Untrusted: The recording is not what was recorded.
    """
    occurrence = Occurrence.from_statement(entry.statement)
    frozen = register.find(occurrence.evidence)
    if frozen is None:
        raise DamagedData(f"occurrence {entry.number} has no evidence in this register")
    files = store.verify(frozen.statement)
    refuse_tampered(files[FLIGHT], register.ring, files.get(HEADS))
    flight = read_flight(files[FLIGHT])
    if flight.id != occurrence.flight:
        raise DamagedData(f"the evidence of occurrence {entry.number} is of another flight")
    body = make_body(flight.header.robot, trusted=True)
    return Opened(entry=entry, occurrence=occurrence, flight=flight, body=body)


def refuse_tampered(path: Path, ring: KeyRing, heads: Path | None) -> None:
    """Refuse a recording that is not what a recorder of the site recorded.

    Raises:
        Untrusted: It is not; what was found is named.
    """
    report = verify_chain(path, ring, heads)
    if report.verdict == "tampered" or not report.heads:
        names = sorted({finding.name for finding in report.findings}) or ["no signed head"]
        raise Untrusted(
            f"{path} is not what was recorded ({', '.join(names)}); nothing is opened from it. "
            "Keep it as it is: 'loopwright blackbox verify' says more"
        )


def replay_exactly(opened: Opened) -> ReplayReport:
    """Fly the frozen flight again, as it was applied, and compare bit by bit."""
    with closing(plant_of(opened.flight, trusted=True)) as plant:
        return replay(opened.flight, plant)


def make_scenario(
    opened: Opened,
    site: Site,
    *,
    event: Event | None = None,
    configuration: Configuration | None = None,
    mended: Configuration | None = None,
) -> Scenario:
    """Minimise an occurrence to a regression scenario, put it in the suite, and register it.

    Args:
        opened: The occurrence.
        site: Where it goes.
        event: Which of its events; the gravest by default.
        configuration: Of the filter that flew; found by its digest if it is not given.
        mended: What should prevent it; by default the same limits with every rung.

    Raises:
        Unidentified: The flight cannot be replayed here, or the event does not happen again.
    """
    event = event or opened.occurrence.events[0]
    flight, body = opened.flight, opened.body
    configuration = configuration or configuration_of(
        flight.header.filter, limits_of(flight, body), body
    )
    if flight.header.robot.plant is None:
        raise Unidentified(
            f"{flight.header.body.robot} has no simulated plant; its flight is evidence, and a "
            "scenario has to be written by hand"
        )
    sought = Sought(
        kind=event.kind,
        what=event.what,
        limits=configuration.limits,
        least_margin=site.rule.least_margin,
    )
    with closing(resolve_entry(flight.header.robot.plant)(**flight.header.robot.config)) as plant:
        search = Search(
            stage=Stage(body, plant, sought),
            flown=configuration,
            mended=mended or Configuration(limits=configuration.limits),
        )
        shortest = minimise(flight, event.first_step, search)
        build = plant.spec.build
    regression = _regression(opened, sought, configuration, shortest, build)
    file = regression.write(site.suite)
    number = site.register.append(_registered(file, regression, opened, site))
    return Scenario(file=file, entry=number, regression=regression, shortest=shortest)


def _occurrence(
    flight: Flight, events: tuple[Event, ...], frozen: Signed, site: Site, now_s: float
) -> Occurrence:
    header, first = flight.header, min(event.first_step for event in events)
    row = flight.steps[flight.steps["sequence"] == first][0]
    deployed = any(True for _ in site.register.filed_numbers(header.robot_id, "deployment/v1"))
    keep_until_s: object = frozen.statement.predicate["keep_until_s"]
    assert isinstance(keep_until_s, float)
    return Occurrence(
        what=f"{header.robot_id} ({header.body.robot}): {events[0]}",
        flight=flight.id,
        robot=header.body.robot,
        robot_id=header.robot_id,
        candidate=header.candidate,
        certificate=header.certificate,
        filter=header.filter,
        instruction=header.instruction,
        events=events,
        happened_s=flight.utc_ns(float(row["monotonic_s"])) / 1e9,
        opened_s=now_s,
        keep_until_s=keep_until_s,
        evidence=frozen.statement.digest,
        deployment=header.robot_id if deployed else "",
    )


def _regression(
    opened: Opened,
    sought: Sought,
    configuration: Configuration,
    shortest: Shortest,
    build: str,
) -> Regression:
    header = opened.flight.header
    assert shortest.outcome.event_after is not None
    title = re.sub(r"[^a-z0-9]+", "-", f"{header.body.robot}-{sought.what}".lower()).strip("-")
    return Regression(
        occurrence=opened.entry.digest,
        title=title,
        robot=header.robot,
        robot_name=header.body.robot,
        robot_digest=robot_digest_of(header.robot, opened.body),
        build=build,
        flight=opened.flight.id,
        first_step=shortest.first_step,
        configuration=configuration,
        filter=configuration.make_filter(opened.body).digest,
        kind=sought.kind,
        what=sought.what,
        event_after=shortest.outcome.event_after,
        least_margin=sought.least_margin,
        state=shortest.state,
        script=shortest.script,
        measured=shortest.outcome.measured,
    )


def _registered(file: Path, regression: Regression, opened: Opened, site: Site) -> Signed:
    digest = digest_of_file(file)
    statement = Statement(
        kind=REGRESSION,
        subjects={"file": digest},
        predicate={
            "register": site.register.id,
            "occurrence": opened.entry.digest,
            "file": digest,
            "name": file.name,
            "kind": regression.kind,
            "what": regression.what,
        },
    )
    return Signed.by(statement, site.key)


def _heads_of(heads: Path | None, path: Path) -> dict[str, Path]:
    """Return the file of the second place that is about a flight, if there is one."""
    found = None if heads is None else heads_path(heads, path)
    return {HEADS: found} if found is not None and found.exists() else {}
