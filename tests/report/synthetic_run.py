"""A made-up run, labelled as such, on which pages, figures and tables are looked at and tested."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.report.certificate import CertificateReport, ClaimReport
from loopwright.report.film import encode_film
from loopwright.report.pictures import (
    DomainMap,
    Film,
    FilmPair,
    Imagination,
    StartPoint,
)
from loopwright.report.rounds import (
    Check,
    Curve,
    Decision,
    GateReport,
    RoundReport,
    SeedRange,
    SuccessRate,
)
from loopwright.report.run import Budget, LineageNode, RunReport, SealedResult

SIDE_PX = 64


@cache
def exact_rate(successes: int, trials: int) -> SuccessRate:
    """Clopper and Pearson's interval, by bisection on the binomial tail."""

    def tail(p: float, at_least: int) -> float:
        return sum(
            math.comb(trials, k) * p**k * (1 - p) ** (trials - k)
            for k in range(at_least, trials + 1)
        )

    def solve(at_least: int, target: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, at_least) < target else (low, middle)
        return (low + high) / 2

    low = 0.0 if successes == 0 else solve(successes, 0.025)
    high = 1.0 if successes == trials else solve(successes + 1, 0.975)
    return SuccessRate(successes=successes, trials=trials, low=low, high=high)


def digest(name: str) -> str:
    return digest_json(["synthetic", name])


def gate(
    champion_rate: float, challenger_rate: float, *, seed: int, alpha: float, pairs: int = 50
) -> GateReport:
    """Play a gate: bets of 0.5 on every pair that is no tie, until the threshold or the end."""
    rng = np.random.default_rng(seed)
    champion = rng.random(pairs) < champion_rate
    challenger = rng.random(pairs) < challenger_rate
    evidence: list[float] = []
    value = 1.0
    for old, new in zip(champion, challenger, strict=True):
        value *= {(False, True): 1.5, (True, False): 0.5}.get((bool(old), bool(new)), 1.0)
        evidence.append(value)
        if value >= 1 / alpha:
            break
    used = len(evidence)
    champion, challenger = champion[:used], challenger[:used]
    return GateReport(
        wins=int((challenger & ~champion).sum()),
        losses=int((champion & ~challenger).sum()),
        ties=int((champion == challenger).sum()),
        evidence=tuple(evidence),
        threshold=1 / alpha,
        alpha=alpha,
        max_pairs=pairs,
        champion=exact_rate(int(champion.sum()), used),
        challenger=exact_rate(int(challenger.sum()), used),
        checks=(Check(name="not below the first champion", held=True),)
        if challenger_rate > 0.9
        else (),
    )


def loss_curve(name: str, *, start: float, end: float, seed: int, unit: str = "") -> Curve:
    steps = np.arange(0, 3000, 20)
    noise = np.exp(0.12 * np.random.default_rng(seed).standard_normal(len(steps)))
    values = (end + (start - end) * np.exp(-steps / 500)) * noise
    return Curve(
        name=name, steps=tuple(map(int, steps)), values=tuple(map(float, values)), unit=unit
    )


def scene(arm_x: float, arm_y: float, *, pressed: bool, blur: float = 0.0) -> np.ndarray:
    """Paint one frame: a table, a box with a button, an arm; uint8 ``(64, 64, 3)``."""
    y, x = (np.mgrid[:SIDE_PX, :SIDE_PX] + 0.5) / SIDE_PX
    image = np.stack([0.80 - 0.15 * y, 0.74 - 0.18 * y, 0.66 - 0.2 * y], -1)
    image[y < 0.35] = (0.72, 0.78, 0.82)
    soft = 0.012 + blur

    def paint(distance: np.ndarray, colour: tuple[float, float, float]) -> None:
        cover = np.clip(0.5 - distance / soft, 0, 1)[..., None]
        image[:] = image * (1 - cover) + np.array(colour) * cover

    def box(cx: float, cy: float, w: float, h: float) -> np.ndarray:
        return np.maximum(abs(x - cx) - w, abs(y - cy) - h)

    paint(box(0.72, 0.62, 0.14, 0.13), (0.95, 0.78, 0.22))
    paint(box(0.57 + 0.025 * pressed, 0.62, 0.025, 0.05), (0.75, 0.12, 0.12))
    paint(box(arm_x - 0.22, arm_y - 0.24, 0.05, 0.26), (0.45, 0.12, 0.16))
    paint(box(arm_x - 0.13, arm_y, 0.12, 0.035), (0.35, 0.36, 0.4))
    paint(np.hypot(x - arm_x, y - arm_y) - 0.035, (0.2, 0.2, 0.24))
    return (image.clip(0, 1) * 255).astype(np.uint8)


def reach(*, lands: bool, start_y: float, blur: float = 0.0, steps: int = 40) -> np.ndarray:
    """Film an arm that presses the button, or passes above it."""
    frames = []
    for t in range(steps if lands else int(steps * 1.5)):
        share = min(1.0, t / (steps * 0.8))
        eased = 0.5 - 0.5 * math.cos(math.pi * share)
        arm_y = start_y + ((0.62 if lands else 0.45) - start_y) * eased
        arm_x = 0.3 + (0.27 if lands else 0.33) * eased
        frames.append(scene(arm_x, arm_y, pressed=lands and share == 1.0, blur=blur))
    return np.stack(frames)


@cache
def film_pair(seed: int, start_y: float) -> FilmPair:
    before, after = reach(lands=False, start_y=start_y), reach(lands=True, start_y=start_y)
    return FilmPair(
        seed=seed,
        caption=f"Button at {start_y - 0.4:+.2f} m",
        before=Film(mp4=encode_film(before, 20), label="First champion", outcome="failure"),
        after=Film(mp4=encode_film(after, 20), label="Champion now", outcome="success"),
    )


def imagination() -> Imagination:
    real, imagined = (reach(lands=True, start_y=0.4, blur=b)[4:36:4] for b in (0.0, 0.1))
    return Imagination(
        real=real,
        imagined=imagined,
        ahead_s=tuple(round(0.2 * (i + 1), 1) for i in range(len(real))),
        caption="Seed 10004, predicted from the first frame and the chosen actions.",
    )


def domain_map() -> DomainMap:
    rng = np.random.default_rng(4)
    points = []
    for _ in range(50):
        x, y = rng.uniform(-0.1, 0.1), rng.uniform(0.85, 0.9)
        before = "success" if x < -0.05 and rng.random() < 0.4 else "failure"
        after = "success" if rng.random() < 0.98 else "failure"
        points.append(StartPoint(x=x, y=y, before=before, after=after))
    return DomainMap(
        x_name="button x",
        y_name="button y",
        unit="m",
        points=tuple(points),
        covered=(-0.1, -0.04, 0.85, 0.9),
        covered_label="shown by demonstrations",
    )


def genesis_round() -> RoundReport:
    return RoundReport(
        index=0,
        label="Clone 5 demonstrations",
        decision="genesis",
        reason="The first candidate of a loop becomes champion; nothing may fall below it.",
        challenger=digest("clone"),
        champion_after=digest("clone"),
        added={"demo": 5},
        labelled_demos=5,
        success=exact_rate(4, 50),
        curves=(loss_curve("action loss", start=1.0, end=0.03, seed=1),),
        cost_cpu_s={"collect": 14.2, "fit": 38.5, "evaluate": 21.0},
        seeds=(
            SeedRange(split="train", first=0, count=5, purpose="demonstrations"),
            SeedRange(split="gate", first=0, count=50, purpose="first champion"),
        ),
    )


def later_round(index: int, decision: Decision, champion: str, **changes: object) -> RoundReport:
    name = f"round-{index}"
    won = decision == "promote"
    values: dict[str, object] = {
        "index": index,
        "label": "Add own verified successes",
        "decision": decision,
        "reason": "Evidence stayed below the threshold until the last pair.",
        "challenger": digest(name),
        "champion_before": champion,
        "champion_after": digest(name) if won else champion,
        "added": {"attempt": 24},
        "labelled_demos": 5,
        "gate": gate(0.08 if index == 2 else 0.6, 0.98, seed=index, alpha=0.05 / 2**index)
        if won
        else gate(0.95, 0.96, seed=index, alpha=0.05 / 2**index),
        "curves": (
            loss_curve("action loss", start=0.8, end=0.02, seed=index),
            loss_curve("future loss", start=0.4, end=0.05, seed=index + 50),
        ),
        "cost_cpu_s": {"collect": 22.0, "fit": 61.0 + index, "evaluate": 40.0, "gate": 0.4},
        "seeds": (SeedRange(split="gate", first=50 * index, count=50, purpose="paired trials"),),
    }
    return RoundReport(**{**values, **changes})  # type: ignore[arg-type]


def claim(arm: str, failed: int, episodes: int, **changes: object) -> ClaimReport:
    values: dict[str, object] = {
        "kind": "violation",
        "stratum": "all",
        "arm": arm,
        "bound": 0.05,
        "episodes": episodes,
        "failed": failed,
        "unknown": 0,
        "upper_bound": 0.04997,
        "confidence": 0.9875,
        "met": True,
    }
    return ClaimReport(**{**values, **changes})  # type: ignore[arg-type]


def certificate(candidate: str, **changes: object) -> CertificateReport:
    values: dict[str, object] = {
        "level": "D",
        "bound": 0.05,
        "state": "in force",
        "reason": "it holds a certificate of level D",
        "candidate": candidate,
        "plan": digest("plan"),
        "attempt": 1,
        "claims": (claim("filter-on", 0, 104), claim("filter-off", 0, 104)),
        "certificate": digest("certificate"),
        "proposed_by": "demo proposer",
        "approved_by": "demo approver",
        "is_demo": True,
        "issued_utc": "2026-11-22T18:16:21+00:00",
        "expires_utc": "2027-02-20T18:16:21+00:00",
        "identity": {"candidate": candidate, "filter": digest("filter")},
    }
    return CertificateReport(**{**values, **changes})  # type: ignore[arg-type]


def rounds() -> tuple[RoundReport, ...]:
    clone = digest("clone")
    video = digest("round-2")
    return (
        genesis_round(),
        later_round(
            1,
            "refuse",
            clone,
            label="A worthless challenger",
            planted=True,
            added={},
            reason="After 50 pairs it had not solved one start that the champion failed.",
            gate=gate(0.08, 0.02, seed=3, alpha=0.025),
            curves=(),
            cost_cpu_s={"fit": 0.2, "evaluate": 39.0, "gate": 0.3},
        ),
        later_round(
            2,
            "promote",
            clone,
            label="Learn from 40 play episodes and 80 videos",
            added={"play": 40, "video": 80},
            reason="It solved 11 starts that the champion failed and lost none, "
            "enough to rule out luck at this round's share of the error budget.",
            cost_cpu_s={"collect": 96.0, "fit": 141.0, "evaluate": 18.0, "gate": 0.2},
            certificate=certificate(video),
        ),
        later_round(
            3,
            "refuse",
            video,
            reason="Both solve nearly every start; 50 pairs could not tell them apart.",
        ),
    )


def lineage() -> tuple[LineageNode, ...]:
    return (
        LineageNode(
            kind="snapshot", digest=digest("s0"), label="5 demonstrations", round=0, parents=()
        ),
        LineageNode(
            kind="candidate",
            digest=digest("clone"),
            label="clone",
            round=0,
            parents=(digest("s0"),),
        ),
        LineageNode(
            kind="champion",
            digest=digest("clone"),
            label="first champion",
            round=0,
            parents=(digest("clone"),),
        ),
        LineageNode(
            kind="candidate",
            digest=digest("round-1"),
            label="planted: random weights",
            round=1,
        ),
        LineageNode(
            kind="snapshot",
            digest=digest("s2"),
            label="5 demonstrations, 40 play, 80 video",
            round=2,
            parents=(digest("s0"),),
        ),
        LineageNode(
            kind="candidate",
            digest=digest("round-2"),
            label="world action model",
            round=2,
            parents=(digest("s2"),),
        ),
        LineageNode(
            kind="champion",
            digest=digest("round-2"),
            label="champion now",
            round=2,
            parents=(digest("round-2"),),
        ),
        LineageNode(
            kind="snapshot",
            digest=digest("s3"),
            label="and 24 own successes",
            round=3,
            parents=(digest("s2"),),
        ),
        LineageNode(
            kind="candidate",
            digest=digest("round-3"),
            label="world action model",
            round=3,
            parents=(digest("s3"), digest("round-2")),
        ),
    )


def synthetic_run() -> RunReport:
    """A whole run with every part present."""
    return RunReport(
        title="Synthetic example: button press",
        scenario="button-press-v1",
        instruction="press the button",
        recipe="demo",
        seed=0,
        rounds=rounds(),
        command="loopwright run demo --seed 0",
        certificate_level="D",
        machine={
            "processor": "made-up CPU",
            "cores": "2",
            "accelerator": "none",
            "python": "3.11.7",
            "torch": "2.13.0",
        },
        started_utc="2026-11-01T10:00:00Z",
        finished_utc="2026-11-01T10:07:40Z",
        budget=Budget(cpu_s=900, rounds=5, labelled_demos=15, alpha=0.05),
        films=(film_pair(10004, 0.30), film_pair(10011, 0.45), film_pair(10017, 0.55)),
        imaginations=(imagination(),),
        domain_map=domain_map(),
        lineage=lineage(),
        sealed=(
            SealedResult(
                label="first champion", candidate=digest("clone"), success=exact_rate(5, 100)
            ),
            SealedResult(
                label="champion now", candidate=digest("round-2"), success=exact_rate(97, 100)
            ),
        ),
        notes=("These numbers are made up to test the page; no robot moved.",),
    )


def long_run(count: int = 20) -> RunReport:
    """A run of many rounds, with a promotion every sixth."""
    champion = digest("clone")
    turns = [genesis_round()]
    for index in range(1, count):
        decision: Decision = "promote" if index % 6 == 2 else "refuse"
        decision = "blocked" if index == 7 else decision
        turn = later_round(index, decision, champion)
        champion = turn.champion_after or champion
        turns.append(turn)
    return RunReport(
        title="Synthetic long run",
        scenario="button-press-v1",
        instruction="press the button",
        recipe="long",
        seed=1,
        rounds=tuple(turns),
    )
