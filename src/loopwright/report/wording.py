"""How numbers and decisions are said, once for pages, figures and terminals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from loopwright.core.episode import Verdict
from loopwright.report.certificate import CertificateReport, ClaimReport
from loopwright.report.rounds import Decision, GateReport, RoundReport, SuccessRate
from loopwright.report.run import RunReport

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

DECISION_WORDS: Mapping[Decision, str] = {
    "genesis": "first champion",
    "promote": "promoted",
    "refuse": "refused",
    "blocked": "blocked",
    "rollback": "rolled back",
    "open": "in progress",
}

KIND_WORDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demonstration", "demonstrations"),
    "play": ("play episode", "play episodes"),
    "video": ("action-free video", "action-free videos"),
    "attempt": ("own attempt", "own attempts"),
}


# Longest first: a speed ends like a time.
_UNITS: Mapping[str, str] = {
    "_mm_s": "mm/s",
    "_rad_s": "rad/s",
    "_m_s": "m/s",
    "_mm": "mm",
    "_rad": "rad",
    "_deg": "°",
    "_hz": "Hz",
    "_kg": "kg",
    "_nm": "nm",
    "_n": "N",
    "_m": "m",
    "_s": "s",
}
_SMALL = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def spelled(number: int, one: str, many: str | None = None) -> str:
    """Return ``"one round"`` or ``"three rounds"``; digits from 13 on."""
    digits = count(number, one, many)
    return digits if number >= len(_SMALL) else f"{_SMALL[number]} {digits.split(' ', 1)[1]}"


def capital(text: str) -> str:
    """Return a label that begins with a capital."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Return text that begins with a capital and ends with a stop."""
    return capital(text) + ("" if not text or text[-1] in ".!?" else ".")


def count(number: int, one: str, many: str | None = None) -> str:
    """Return ``"1 round"`` or ``"3 rounds"``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def rate(success: SuccessRate | None) -> str:
    """Return ``"0.98"``, or a dash when nothing was measured."""
    return f"{success.rate:.2f}" if success else DASH


def interval(success: SuccessRate) -> str:
    """Return ``"0.89–1.00"``."""
    return f"{success.low:.2f}{DASH}{success.high:.2f}"


def measured(success: SuccessRate) -> str:
    """Return ``"49 of 50, 95 % interval 0.89–1.00"``."""
    return (
        f"{success.successes} of {success.trials}, "
        f"{success.confidence:.0%} interval {interval(success)}"
    )


def short(digest: str | None) -> str:
    """Return the eight digits by which people tell digests apart."""
    return digest[:8] if digest else DASH


def seconds(cpu_s: float) -> str:
    """Return a duration with as many digits as matter: ``"0.4 s"``, ``"73 s"``, ``"12.5 min"``."""
    if cpu_s < 10:
        return f"{cpu_s:.1f} s"
    if cpu_s < 120:
        return f"{cpu_s:.0f} s"
    if cpu_s < 2 * 3600:
        return f"{cpu_s / 60:.1f} min"
    return f"{cpu_s / 3600:.1f} h"


def evidence(value: float) -> str:
    """Return an e-value as people read it: ``"0.31"``, ``"4.2"``, ``"85"``, ``"1.2 × 10⁶"``."""
    if math.isinf(value):
        return "\N{INFINITY}"
    if value >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} {TIMES} 10{power}"
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def round_number(turn: RoundReport) -> str:
    """Return the number of a round; a rollback stands between rounds and has none."""
    return DASH if turn.decision == "rollback" else str(turn.index)


def first_champion_places(report: RunReport) -> str:
    """Return why the first champion has several success rates; empty if it has only one.

    ``"15 of 20 in operation after round 0, 6 of 20 at the gate of round 1, ..."``
    """
    first = next((r.champion_after for r in report.rounds if r.installs), None)
    places = [
        (r.success, f"in operation after round {r.index}")
        for r in report.turns
        if r.challenger == first and r.success
    ]
    places += [
        (r.champion_success, f"at the gate of round {r.index}")
        for r in report.turns
        if r.champion_before == first and r.champion_success
    ]
    places += [(s.success, "on sealed starts") for s in report.sealed if s.candidate == first]
    # First and last champion are the same one where nothing was promoted.
    told = list(dict.fromkeys(f"{s.successes} of {s.trials} {where}" for s, where in places if s))
    if len(told) < 2:
        return ""
    return (
        f"The first champion solved {', '.join(told)}. Each of these draws starts of its own, so "
        "its rate differs from one to the next; compare only what met on the same starts."
    )


def labels_spent(report: RunReport) -> str:
    """Return that no champion cost a new label; empty where the labels changed, or none were."""
    crowned = [r for r in report.turns if r.installs]
    labels = {r.labelled_demos for r in crowned}
    if len(crowned) < 2 or len(labels) != 1:
        return ""
    (number,) = labels
    what = "labelled demonstration"
    if not number:
        return f"No champion needed a {what}."
    return f"All champions were made with the same {count(number, what)}; none cost a new one."


def added(counts: Mapping[str, int]) -> str:
    """Return ``"5 demonstrations, 80 action-free videos"``; empty when nothing came."""
    words = []
    for kind, number in counts.items():
        if number:
            one, many = KIND_WORDS.get(kind, (f"{kind} episode", f"{kind} episodes"))
            words.append(count(number, one, many))
    return ", ".join(words)


def said_by(verdict: Verdict) -> str:
    """Return whose verdict it is: ``"verifier metaworld-distance/1"``, ``"operator/ada"``."""
    named = verdict.verifier.startswith(f"{verdict.authority}/")
    return verdict.verifier if named else f"{verdict.authority} {verdict.verifier}"


def quantity(name: str) -> tuple[str, str]:
    """Return a name that carries its unit as words and unit: ``("object x", "m")``."""
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix).replace("_", " "), unit
    return name.replace("_", " "), ""


def measure(name: str, value: float) -> str:
    """Return a named number with its unit: ``"object x 0.12 m"``."""
    words, unit = quantity(name)
    return f"{words} {value:.3g} {unit}".rstrip().replace("-", "\N{MINUS SIGN}")


def gate_counts(gate: GateReport) -> str:
    """Return ``"22 won, 1 lost, 7 tied"``."""
    words = f"{gate.wins} won, {gate.losses} lost, {gate.ties} tied"
    return f"{words}, {gate.missing} missing" if gate.missing else words


def gate_freshness(gate: GateReport) -> str:
    """Return whether the starts were fresh: ``"20 starts, none of them used before"``."""
    if gate.used_before is None:
        return ""
    starts = count(gate.pairs + gate.missing, "start")
    return f"{starts}, {gate.used_before or 'none'} of them used before"


def gate_evidence(gate: GateReport) -> str:
    """Return what the evidence of a gate amounts to, in one sentence."""
    needed = f"{evidence(gate.threshold)} needed"
    if not gate.evidence:
        return f"No pair was finished ({needed})."
    peak = max(gate.evidence)
    after = f"after {count(len(gate.evidence), 'pair')}"
    if gate.evidence[-1] >= gate.threshold:
        return f"Evidence {evidence(gate.evidence[-1])} {after} ({needed})."
    return f"Evidence {evidence(gate.evidence[-1])} {after}, {evidence(peak)} at best ({needed})."


_FAILURES: Mapping[str, str] = {"violation": "violations", "task-failure": "task failures"}


def claim_kind(claim: ClaimReport) -> str:
    """Return what a claim counts: ``"violations"``."""
    return _FAILURES.get(claim.kind, claim.kind)


def claim_place(claim: ClaimReport) -> str:
    """Return where a claim holds: ``"filter on"``, ``"filter off, object_x_m 1/2"``."""
    arm = claim.arm.replace("-", " ")
    return arm if claim.stratum == "all" else f"{arm}, {claim.stratum}"


def claim_said(claim: ClaimReport) -> str:
    """Return a claim in a few words: ``"violations < 5% filter on (0 of 104)"``."""
    aim = "stated," if claim.bound is None else f"< {claim.bound * 100:g} %"
    unknown = f", {claim.unknown} unknown" if claim.unknown else ""
    counts = f"({claim.failed} of {claim.episodes}{unknown})"
    return f"{claim_kind(claim)} {aim} {claim_place(claim)} {counts}"


def signers(certificate: CertificateReport) -> str:
    """Return who answers for a certificate."""
    if not certificate.approved_by:
        return "nobody approved it"
    people = f"proposed by {certificate.proposed_by}, approved by {certificate.approved_by}"
    if certificate.is_demo:
        people += " (demo keys: one process signed as both, which is not two people)"
    return people


def certificate_lines(report: RunReport) -> list[str]:
    """Return what a terminal says of the champion's certificate; nothing if none is asked for."""
    if report.waits_for:
        return [f"certificate: {report.waits_for}"]
    if not report.certificate_level:
        return []
    found = report.champion_certificate
    if found is None:
        return ["certificate: none; the first champion acts in simulation and cannot be deployed"]
    claims = "; ".join(map(claim_said, found.claims))
    until = f"; expires {found.expires_utc[:10]}" if found.expires_utc else ""
    return [
        f"certificate: level {found.level}, {found.state}: {claims}; {signers(found)}{until}; "
        "evidence from simulation"
    ]


def verdict(report: RunReport) -> str:
    """Return the result of a run in one sentence."""
    return report.verdict or _composed_verdict(report)


def _composed_verdict(report: RunReport) -> str:
    if not report.rounds:
        return "No round has finished yet."
    promoted = [r.index for r in report.rounds if r.decision == "promote"]
    refused = [r for r in report.rounds if r.decision == "refuse"]
    blocked = [r for r in report.rounds if r.decision == "blocked"]
    clauses = [_promotions(promoted)]
    if refused:
        planted = sum(r.planted for r in refused)
        clauses.append(
            f"{spelled(len(refused), 'challenger')} refused" + _planted(planted, refused)
        )
    if blocked:
        clauses.append(f"{spelled(len(blocked), 'gate')} blocked by missing trials")
    return sentence("; ".join(clauses))


def _promotions(rounds: list[int]) -> str:
    if not rounds:
        return "no challenger earned a promotion"
    numbers = ", ".join(map(str, rounds[:-1])) + (" and " if rounds[1:] else "") + str(rounds[-1])
    return f"promoted in {'rounds' if rounds[1:] else 'round'} {numbers}"


def _planted(planted: int, refused: list[RoundReport]) -> str:
    if not planted:
        return ""
    if planted == len(refused):
        return ", planted on purpose" if planted == 1 else ", all planted on purpose"
    return f", {spelled(planted, 'of them', 'of them')} planted on purpose"
