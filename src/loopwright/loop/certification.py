"""Certifying a candidate: scenario, robot, filter and register joined into one campaign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import loopwright
from loopwright.core.digest import digest_json, digest_tree
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.policy import Candidate, Policy
from loopwright.core.scenario import SPLIT_SIZE, Box, Scenario, split_of, split_seed
from loopwright.core.stage import ProgressSink, environment_digest, resolve_entry
from loopwright.models.registry import load_policy
from loopwright.safety.body import BodySpec
from loopwright.safety.certificate.campaign import Campaign, Trial, read_account
from loopwright.safety.certificate.claims import ARMS, Aim, Arm, Level, bound_of
from loopwright.safety.certificate.identity import Identity, robot_digest, scenario_digest
from loopwright.safety.certificate.plan import (
    Register,
    Stratum,
    TestPlan,
    burnt_seeds,
    previous_plans,
    register_plan,
    registered_plans,
)
from loopwright.safety.certificate.tree import digest_every_file
from loopwright.safety.keys import SigningKey
from loopwright.scenarios.metaworld.catalogue import TASKS
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import INFRASTRUCTURE, attempt
from loopwright.scenarios.watched import Rig, WatchedWorld

FIRST_SEED = SPLIT_SIZE // 2
"""Index in the sealed split from which certificates take seeds; examinations of a loop count from
0, so the two do not meet."""
EPISODES_PER_BOUND = 15
"""Seeds of a stratum, unless said otherwise: this many divided by the bound of the level."""
EVIDENCE_ROOMS = ("core", "models", "safety", "scenarios")
RIGS: Mapping[str, str] = {
    "point-reach-v1": "loopwright.scenarios.point.safety:make_rig",
    **{task.id: "loopwright.scenarios.metaworld.rig:make_rig" for task in TASKS},
}
"""Scenario to the entry point of its rig, where one is built in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What somebody wants to have certified."""

    candidate: Path
    scenario: str
    """Id or path, as for :func:`~loopwright.scenarios.registry.get_scenario`."""
    level: Level = "D"
    rig: str | None = None
    """Entry point of a function of the scenario that returns its
    :class:`~loopwright.scenarios.watched.Rig`; None takes the one built in."""
    task_failure: float | None = None
    """Also show that the task fails less often than this, with the filter on."""
    unfiltered: int | None = None
    """Without the filter, run so many episodes and state what happened; None: show the level."""
    strata: Mapping[str, int] = field(default_factory=dict)
    """Domain parameter to number of equal parts; every combination is a stratum."""
    episodes: int | None = None
    """Seeds a stratum; None takes what the level usually needs."""

    def aims(self) -> tuple[Aim, ...]:
        """Return what the plan sets out to show."""
        bound = bound_of(self.level)
        shown = Aim(kind="violation", arm="filter-on", bound=bound)
        bare = Aim(
            kind="violation",
            arm="filter-off",
            bound=bound if self.unfiltered is None else None,
            episodes=self.unfiltered or 1,
        )
        if self.task_failure is None:
            return shown, bare
        return shown, bare, Aim(kind="task-failure", arm="filter-on", bound=self.task_failure)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """Everything that is tested, in working order."""

    folder: Path
    """Of the candidate; its policy is loaded when the first episode is due."""
    scenario: Scenario
    rig: Rig
    identity: Identity
    sealed: str
    """Digest by which the candidate's own manifest knows it."""


def open_subject(request: Request) -> Subject:
    """Load and digest everything that is to be tested.

    Raises:
        UnknownName: There is no such scenario, or no rig for it.
        UnsafeCandidate: The candidate folder holds what none may hold.
    """
    scenario = get_scenario(request.scenario)
    rig = find_rig(scenario, request.rig)
    return Subject(
        folder=request.candidate,
        scenario=scenario,
        rig=rig,
        identity=identity_of(request.candidate, scenario, rig),
        sealed=Candidate.open(request.candidate).digest,
    )


def find_rig(scenario: Scenario, entry: str | None = None) -> Rig:
    """Return the rig of a scenario, built in or by entry point.

    Raises:
        UnknownName: No rig is built in for the scenario.
        InvalidConfig: The entry point leads nowhere, or to something else.
    """
    if entry is None and scenario.id not in RIGS:
        raise UnknownName("rig of a scenario", scenario.id, RIGS)
    entry = entry or RIGS[scenario.id]
    found = resolve_entry(entry)(scenario)
    if not isinstance(found, Rig):
        raise InvalidConfig(f"{entry} returned a {type(found).__name__}, expected a Rig")
    return found


def identity_of(candidate: Path, scenario: Scenario, rig: Rig) -> Identity:
    """Digest what lies here now."""
    return identity_with(digest_every_file(candidate), scenario, rig)


def identity_with(candidate: str, scenario: Scenario, rig: Rig) -> Identity:
    """Digest what lies here now around a candidate of a known digest."""
    return Identity(
        candidate=candidate,
        scenario=scenario_digest(scenario),
        robot=robot_digest(rig.spec, rig.entry),
        filter=rig.filter,
        build=build_digest(rig.spec),
    )


def build_digest(spec: BodySpec) -> str:
    """Digest what the evidence is computed with: simulator, interpreter, libraries, our code.

    Of our code the rooms that act in an episode; a new verb does not void a certificate.
    """
    source = Path(loopwright.__file__).parent
    code = {room: digest_tree(source / room, ".py") for room in EVIDENCE_ROOMS}
    return digest_json({"robot": spec.build, "environment": environment_digest(), "code": code})


def plan_for(request: Request, subject: Subject, register: Register) -> TestPlan:
    """Return a plan on sealed seeds that no plan has named, owning up to those before it."""
    earlier = tuple(registered_plans(register))
    burnt = burnt_seeds(subject.scenario.id, earlier)
    count = request.episodes or round(EPISODES_PER_BOUND / bound_of(request.level))
    first = 1 + max((seed - split_seed("sealed", 0) for seed in burnt), default=FIRST_SEED - 1)
    return TestPlan(
        identity=subject.identity,
        scenario=subject.scenario.id,
        level=request.level,
        aims=request.aims(),
        strata=tuple(_strata(subject.scenario, request.strata, first, count)),
        previous=previous_plans(subject.identity, earlier),
    )


def stratum_boxes(scenario: Scenario, parts: Mapping[str, int]) -> dict[str, Box]:
    """Cut the operating domain into named parts; uncut it is called ``all``."""
    return _cut({"all" if not parts else "": scenario.domain}, parts)


def _strata(
    scenario: Scenario, parts: Mapping[str, int], first: int, count: int
) -> Iterator[Stratum]:
    """Cut the domain into parts and give each its next seeds."""
    boxes = stratum_boxes(scenario, parts)
    seeds: dict[str, list[int]] = {name: [] for name in boxes}
    for index in range(first, min(first + 1000 * count * len(boxes), SPLIT_SIZE)):
        seed = split_seed("sealed", index)
        start = scenario.start(seed)
        name = next((name for name, box in boxes.items() if box.contains(start)), None)
        if name is not None and len(seeds[name]) < count:
            seeds[name].append(seed)
        if all(len(found) == count for found in seeds.values()):
            break
    else:
        raise InvalidConfig(f"too few sealed seeds of {scenario.id} start in every stratum")
    for name, box in boxes.items():
        yield Stratum(name=name, domain=box, seeds=tuple(seeds[name]))


def _cut(boxes: Mapping[str, Box], parts: Mapping[str, int]) -> dict[str, Box]:
    for parameter, number in parts.items():
        if number < 1:
            raise InvalidConfig(f"{parameter} in {number} parts; expected 1 or more")
        boxes = {
            f"{name} {parameter} {part + 1}/{number}".strip(): box.portion(
                parameter, part / number, (part + 1) / number
            )
            for name, box in boxes.items()
            for part in range(number)
        }
    return dict(boxes)


def open_campaign(
    request: Request, subject: Subject, register: Register, key: SigningKey
) -> Campaign:
    """Return the campaign of exactly this subject that is under way, or register a new plan.

    Raises:
        NotCertified: The plan clashes with one that was registered meanwhile.
        Untrusted: The key may not register plans.
    """
    for plan in reversed(tuple(registered_plans(register))):
        wanted = plan.identity == subject.identity and plan.level == request.level
        if wanted and plan.aims == request.aims():
            account = read_account(plan.digest, register)
            if account.ended is None and account.signer == key.id:
                return Campaign(plan, register, key)
    plan = plan_for(request, subject, register)
    register_plan(plan, register, key)
    return Campaign(plan, register, key)


def run_campaign(campaign: Campaign, subject: Subject, progress: ProgressSink) -> str:
    """Run episodes until every claim is shown or one is lost, and return how it stands.

    A campaign that is lost or blocked is ended; one that is shown is left open until its
    certificate is issued.
    """
    run_arms(campaign, subject, progress)
    standing, _ = campaign.standing()
    if standing != "shown":
        campaign.end()
    return standing


def run_arms(
    campaign: Campaign, subject: Subject, progress: ProgressSink, arms: Sequence[Arm] = ARMS
) -> None:
    """Run episodes of some arms until each of their claims is shown, or one is lost.

    One episode of every open cell in turn, each logged before the next begins. What other arms
    show plays no part, so two processes may run one arm each, and a campaign that was cut short
    comes to the same counts.
    """
    with ExitStack() as stack:
        worlds = {
            arm: stack.enter_context(closing(subject.rig.make_world(filtered=arm == "filter-on")))
            for arm in arms
        }
        policy = load_policy(subject.folder)
        while campaign.tally.standing(arms)[0] == "open":
            for stratum, arm in campaign.tally.open_cells(arms):
                campaign.record(_trial(campaign, subject, policy, worlds[arm], stratum, arm))
            progress(progress_of(campaign, arms), _say(campaign, arms))


def _trial(
    campaign: Campaign,
    subject: Subject,
    policy: Policy,
    world: WatchedWorld,
    stratum: str,
    arm: Arm,
) -> Trial:
    """Run the next episode of a cell."""
    seed = campaign.tally.next_seed(stratum, arm)
    assert seed is not None
    assert split_of(seed) == "sealed"
    outcomes = _outcomes(subject, policy, world, seed)
    kinds = campaign.plan.kinds(arm)
    return Trial(
        stratum=stratum, arm=arm, seed=seed, failed={kind: outcomes[kind] for kind in kinds}
    )


def _outcomes(
    subject: Subject, policy: Policy, world: WatchedWorld, seed: int
) -> dict[str, bool | None]:
    """Run one episode and return what failed in it; None where nobody can say."""
    try:
        _, verdict = attempt(subject.scenario, world, policy, seed, subject.sealed)
    except INFRASTRUCTURE:
        return {"violation": None, "task-failure": None}
    is_known = not verdict.flags.get("infrastructure", False)
    violated = world.violations > 0 or world.trips > 0
    return {
        # What was seen to happen did happen, even if the episode was cut short after it.
        "violation": violated if violated or is_known else None,
        "task-failure": verdict.outcome != "success" if verdict.outcome != "unknown" else None,
    }


def progress_of(campaign: Campaign, arms: Sequence[Arm] = ARMS) -> float:
    """Return roughly how far some arms have come: the least evidence of a claim, in [0, 1]."""
    shares = [
        claim.log_evidence() / claim.log_threshold
        if claim.bound is not None
        else claim.episodes / claim.least_episodes
        for claim in campaign.claims()
        if claim.arm in arms
    ]
    return min(1.0, max(0.0, min(shares)))


def _say(campaign: Campaign, arms: Sequence[Arm]) -> str:
    counted = [c for c in campaign.claims() if c.kind == "violation" and c.arm in arms]
    episodes, failed = sum(c.episodes for c in counted), sum(c.failed for c in counted)
    return f"{episodes:,} episodes, {failed} with a violation"
