"""Old certificates against new scenarios: what once happened must not happen under any of them.

Every certificate in force that concerns the robot or the filter of a scenario is tried: its filter
is made again, and the scenario's requests run through it. Where a limit is exceeded again the
certificate is suspended. Where the filter of a certificate cannot be made here, nobody knows, and
that is said: it is no pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loopwright.core.errors import DamagedData, LoopwrightError
from loopwright.safety.certificate.document import CERTIFICATE, Certificate
from loopwright.safety.certificate.verify import SUSPENSION, suspended
from loopwright.safety.directive.deployment import KIND as DEPLOYMENT
from loopwright.safety.entry import Entry
from loopwright.safety.keys import SigningKey
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.opening import REGRESSION
from loopwright.safety.occurrence.record import Occurrence
from loopwright.safety.occurrence.regression import (
    SUFFIX,
    Regression,
    RegressionReport,
    digest_of_file,
    mended_of,
    open_stage,
    prevents,
    run_regression,
)
from loopwright.safety.occurrence.violation import LimitWatch
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement

RECHECK = "recheck/v1"
State = Literal["fails", "undecided", "passes"]
_WORST_FIRST: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Member:
    """A scenario of a suite that is what was registered."""

    path: Path
    entry: Entry
    """Its statement in the register."""
    regression: Regression


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Suite:
    """The regression scenarios of a site."""

    members: tuple[Member, ...]
    problems: tuple[str, ...]
    """Files that are missing, altered, or not registered; none of them is run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A certificate under a scenario."""

    certificate: str
    """Digest."""
    regression: str
    """Digest of the scenario's statement."""
    scenario: str
    """Name of its file."""
    state: State
    why: str
    suspends: bool = False
    """Whether the certificate has to be suspended for it."""


def read_suite(folder: Path, register: Register) -> Suite:
    """Read a suite and hold it against the register, which says what has to be in it."""
    problems: list[str] = []
    members: list[Member] = []
    files = {digest_of_file(path): path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    for entry in register.statements(REGRESSION):
        said: Any = entry.statement.predicate
        path = files.pop(said["file"], None)
        if path is None:
            problems.append(f"{said['name']} (entry {entry.number}) is missing or was altered")
            continue
        try:
            members.append(Member(path=path, entry=entry, regression=Regression.read(path)))
        except DamagedData as error:
            problems.append(str(error))
    problems += [f"{path.name} is not registered; it is not run" for path in files.values()]
    return Suite(members=tuple(members), problems=tuple(problems))


def run_suite(
    suite: Suite, mended: Configuration | None = None
) -> Iterator[tuple[Member, RegressionReport | str]]:
    """Let everything happen again; yield each scenario's report, or why it could not be run."""
    for member in suite.members:
        try:
            yield member, run_regression(member.regression, mended, trusted=True)
        except LoopwrightError as error:
            yield member, f"{type(error).__name__}: {error}"


def certificates_in_force(register: Register, now_s: float) -> tuple[Entry, ...]:
    """Return the certificates that are neither suspended nor over."""
    gone = suspended(register.statements(SUSPENSION))
    return tuple(
        entry
        for entry in register.statements(CERTIFICATE)
        if entry.digest not in gone
        and (certificate := _legible(entry)) is not None
        and now_s < certificate.expires_s
    )


def recheck(
    register: Register,
    suite: Suite,
    now_s: float,
    known: Iterable[Configuration] = (),
) -> tuple[Verdict, ...]:
    """Try every certificate in force under every scenario that concerns it.

    Args:
        register: Of the site.
        suite: Its scenarios.
        now_s: Seconds since 1970.
        known: Further configurations of filters; those that the scenarios ran with, and their
            limits with every rung, are known.
    """
    certificates = certificates_in_force(register, now_s)
    configurations = (*known, *_configurations(suite))
    return tuple(
        _verdict(register, entry, member, configurations)
        for member in suite.members
        for entry in certificates
        if _concerns(register, entry, member)
    )


def suspend(register: Register, verdicts: Sequence[Verdict], key: SigningKey) -> tuple[int, ...]:
    """Suspend every certificate that failed; return the numbers of the entries.

    Args:
        register: Of the site.
        verdicts: What was found.
        key: Of an authority or an approver.

    Raises:
        Untrusted: The key is of neither.
    """
    done = set(suspended(register.statements(SUSPENSION)))
    numbers = []
    for verdict in verdicts:
        if verdict.suspends and verdict.certificate not in done:
            done.add(verdict.certificate)
            said = {
                "register": register.id,
                "certificate": verdict.certificate,
                "regression": verdict.regression,
                "reason": f"{verdict.scenario}: {verdict.why}",
            }
            subjects = {"certificate": verdict.certificate, "regression": verdict.regression}
            statement = Statement(kind=SUSPENSION, subjects=subjects, predicate=said)
            numbers.append(register.append(Signed.by(statement, key)))
    return tuple(numbers)


def note(register: Register, verdicts: Sequence[Verdict], key: SigningKey) -> tuple[int, ...]:
    """Register, a certificate at a time, which scenarios it passed and which are undecided.

    What was noted before in the same words is not noted again.

    Args:
        register: Of the site.
        verdicts: What was found.
        key: Of an authority, an approver or an investigator.
    """
    numbers = []
    for certificate in dict.fromkeys(verdict.certificate for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.certificate == certificate]
        if any(verdict.suspends for verdict in own):
            continue
        said: dict[str, Any] = {
            "register": register.id,
            "certificate": certificate,
            "regression": [verdict.regression for verdict in own],
            "states": {verdict.regression: verdict.state for verdict in own},
        }
        statement = Statement(kind=RECHECK, subjects={"certificate": certificate}, predicate=said)
        if register.find(statement.digest) is None:
            numbers.append(register.append(Signed.by(statement, key)))
    return tuple(numbers)


def _legible(entry: Entry) -> Certificate | None:
    """Return a certificate; what is illegible is none, and nothing can move under it."""
    try:
        return Certificate.from_statement(entry.statement)
    except DamagedData:
        return None


def _configurations(suite: Suite) -> tuple[Configuration, ...]:
    return tuple(
        configuration
        for member in suite.members
        for configuration in (member.regression.configuration, mended_of(member.regression))
    )


def _concerns(register: Register, entry: Entry, member: Member) -> bool:
    """Tell whether a certificate is about the robot or the filter of a scenario.

    Or about the very flight, or named by a deployment of that sort of robot.
    """
    identity = Certificate.from_statement(entry.statement).identity
    regression = member.regression
    if identity.robot == regression.robot_digest or identity.filter == regression.filter:
        return True
    occurrence = register.find(regression.occurrence)
    if occurrence is not None and entry.digest == _flown_under(occurrence):
        return True
    return any(
        deployed.statement.predicate.get("robot") == regression.robot_name
        and deployed.statement.predicate.get("certificate") == entry.digest
        for deployed in register.statements(DEPLOYMENT)
    )


def _flown_under(occurrence: Entry) -> str:
    try:
        return Occurrence.from_statement(occurrence.statement).certificate
    except DamagedData:
        return ""  # reported by a person


def _verdict(
    register: Register, entry: Entry, member: Member, known: Sequence[Configuration]
) -> Verdict:
    certificate = Certificate.from_statement(entry.statement)
    # What may stand in for the filter while something is out of order is certified as well.
    filters = (certificate.identity.filter, *(item.filter for item in certificate.degraded))
    tried = [_try(digest, member.regression, known) for digest in dict.fromkeys(filters)]
    state, why = min(tried, key=lambda found: _WORST_FIRST.index(found[0]))
    return Verdict(
        certificate=entry.digest,
        regression=member.entry.digest,
        scenario=member.path.name,
        state=state,
        why=why,
        # A brake that trips, or a thin margin, is the filter at work.
        suspends=state == "fails" and member.regression.kind == "violation",
    )


def _try(
    filter_digest: str, regression: Regression, known: Sequence[Configuration]
) -> tuple[State, str]:
    """Run a scenario under the filter of a certificate, if that can be made here."""
    try:
        body, stage = open_stage(regression, trusted=True)
    except LoopwrightError as error:
        return "undecided", f"the robot cannot be made here: {error}"
    with closing(stage.plant):
        again = stage.run(regression.state, regression.script, regression.configuration)
        if again.event_after is None:
            return "undecided", "the scenario does not happen any more as recorded"
        for configuration in known:
            try:
                digest = configuration.make_filter(body).digest
            except LoopwrightError:
                continue  # of another robot
            if digest != filter_digest:
                continue
            what = f"{regression.kind}: {regression.what}"
            if LimitWatch(body, configuration.limits).exceeded(stage.plant.load(regression.state)):
                return "undecided", "it begins where this filter would not have let the robot come"
            if prevents(stage, regression, configuration):
                return "passes", f"{what} does not happen"
            return "fails", f"{what} happens again"
    return "undecided", (
        f"its filter {filter_digest[:16]} cannot be made here: give its limits, or test it on the "
        "version of the ladder that it was certified with"
    )
