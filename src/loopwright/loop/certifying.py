"""Getting a challenger its certificate: the stages of a campaign, and what is concluded from it.

========== ====================================== ==========================
stage      what it does                           facts
========== ====================================== ==========================
test-plan  registers the plan, burns its seeds    digest of the plan
certify    runs one arm, every episode logged     the claims, as counted
========== ====================================== ==========================

The plan is a stage of its own, and its receipt is committed before the first episode: whatever dies
afterwards, the same plan goes on, and no second one burns further seeds. An episode that was killed
before it was logged is run again and ends the same, because seed and candidate fix it; one that was
logged never is.

Two people answer for a certificate. The loop signs as the proposer, and then *waits*: the approver
signs with ``loopwright certificate approve``, wherever that key is. Only a demo goes on by itself,
with keys that it made for the purpose, and says so.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import AwaitsApproval, InvalidConfig, NotCertified, Untrusted
from loopwright.core.stage import Receipt, Site, StageResult, StageSpec
from loopwright.loop.certification import (
    RIGS,
    Request,
    Subject,
    find_rig,
    identity_of,
    open_campaign,
    open_subject,
    run_arms,
)
from loopwright.loop.certified import certificate_in_force, objection_to
from loopwright.loop.config import CertificateConfig, LoopConfig
from loopwright.loop.engine import Engine, Work
from loopwright.loop.records import Certification
from loopwright.loop.signing import Signing, make_demo
from loopwright.safety.certificate.campaign import Account, Campaign, read_account
from loopwright.safety.certificate.claims import ARMS, Arm
from loopwright.safety.certificate.document import CERTIFICATE, Certificate
from loopwright.safety.certificate.issue import approve, issue
from loopwright.safety.certificate.plan import find_plan
from loopwright.safety.certificate.verify import read_certificate
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed
from loopwright.scenarios.registry import get_scenario
from loopwright.store.durable import write_text_file
from loopwright.store.workspace import Workspace

PROPOSALS = "certificates"
"""Folder of a workspace with what was proposed: a folder per round, with the candidate beside."""
_ENTRY = "loopwright.loop.certifying"
_UNTESTED = ("valid_days", "demo_keys")
"""Fields of a :class:`CertificateConfig` that change nothing in a test."""


# -- stages --------------------------------------------------------------------------------------


def plan_test(spec: StageSpec, site: Site) -> StageResult:
    """Register what will be tested, before the first episode; its seeds are burnt for ever."""
    with _bench(spec, site) as bench:
        campaign = open_campaign(bench.request, bench.subject, bench.register, bench.key)
        plan = campaign.plan
        bench.workspace.ledger.use_seeds(
            "sealed",
            plan.scenario,
            sorted(plan.seeds),
            purpose=f"certificate plan {plan.digest}",
        )
    return StageResult(facts={"plan": plan.digest, "seeds": len(plan.seeds)})


def certify_arm(spec: StageSpec, site: Site) -> StageResult:
    """Run the episodes of a registered plan with the filter on, or off, until its claims stand."""
    arm = cast("Arm", spec.params["arm"])
    with _bench(spec, site) as bench:
        plan, _ = find_plan(str(spec.params["plan"]), bench.register)
        if changed := bench.subject.identity.differences(plan.identity):
            raise NotCertified(f"{' and '.join(changed)} is not what plan {plan.digest[:16]} names")
        campaign = Campaign(plan, bench.register, bench.key)
        run_arms(campaign, bench.subject, site.progress, (arm,))
        claims = [claim.to_json() for claim in campaign.claims() if claim.arm == arm]
    return StageResult(facts={"claims": claims})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Bench:
    """What a stage of a campaign works with."""

    workspace: Workspace
    request: Request
    subject: Subject
    register: Register
    key: SigningKey


@contextmanager
def _bench(spec: StageSpec, site: Site) -> Iterator[_Bench]:
    signing = Signing.of(site.workspace)
    if signing is None:
        raise InvalidConfig(f"{site.workspace} does not say where register and keys are")
    asked = CertificateConfig(**cast("Mapping[str, Any]", spec.params["asked"]))
    digest = spec.inputs["candidate"]
    with Workspace.open(site.workspace) as workspace, signing.open() as register:
        folder = site.scratch / f"candidate-{digest[:12]}"
        workspace.objects.checkout(digest, folder)
        request = _request(asked, folder, str(spec.params["scenario"]))
        yield _Bench(
            workspace=workspace,
            request=request,
            subject=open_subject(request),
            register=register,
            key=SigningKey.read(signing.proposer),
        )


def _request(asked: CertificateConfig, candidate: Path, scenario: str) -> Request:
    return Request(
        candidate=candidate,
        scenario=scenario,
        level=asked.level,
        rig=asked.rig,
        task_failure=asked.task_failure,
        unfiltered=asked.unfiltered,
        strata=asked.strata,
        episodes=asked.episodes,
    )


# -- what the loop asks --------------------------------------------------------------------------


class Certifier:
    """Gets the challengers of a loop their certificates, or the reason why they have none."""

    def __init__(self, config: LoopConfig, engine: Engine) -> None:
        """Find register and keys, before anything is trained in vain.

        Raises:
            InvalidConfig: The recipe asks for a certificate, and nobody said who proposes it.
            UnknownName: No rig is built in for the scenario.
            Untrusted: The key is not that of a proposer.
        """
        assert config.certificate is not None
        self._config, self._engine = config, engine
        self._asked, self._scenario = config.certificate, get_scenario(config.scenario)
        self._rig = find_rig(self._scenario, self._asked.rig)
        self._root = engine.workspace.root
        self._signing = _signing_for(self._root, config.name, self._asked)

    def certify(
        self,
        candidate: str,
        *,
        round_name: str,
        scenario_params: Mapping[str, Json],
        run_all: Callable[[Sequence[Work]], list[Receipt]],
    ) -> Certification:
        """Test a candidate by a registered plan, unless it holds a certificate already.

        Args:
            candidate: Digest.
            round_name: In which round; a candidate that comes again is tested again, by a plan
                that names the one before.
            scenario_params: Parameters that make the keys of stages depend on the scenario.
            run_all: Runs stages.

        Raises:
            AwaitsApproval: Everything is shown; a second person has to sign.
            StageError: A stage failed.
        """
        asked = {k: v for k, v in asdict(self._asked).items() if k not in _UNTESTED}
        params: dict[str, Json] = {**scenario_params, "asked": asked, "round": round_name}
        planning = self._work("test-plan", "plan_test", candidate, params, "register a test plan")
        if self._engine.workspace.ledger.receipt(planning.spec.key) is None:
            held = self._held_already(candidate)
            if held is not None:
                return held
        plan = str(run_all([planning])[0].result.facts["plan"])
        run_all(
            [
                self._work(
                    "certify",
                    "certify_arm",
                    candidate,
                    {**params, "plan": plan, "arm": arm},
                    f"certify {candidate[:8]}, {arm}",
                )
                for arm in ARMS
            ]
        )
        return self._conclude(candidate, plan, round_name)

    def _work(
        self, name: str, function: str, candidate: str, params: Mapping[str, Json], label: str
    ) -> Work:
        spec = self._engine.spec(
            name, f"{_ENTRY}:{function}", params=params, inputs={"candidate": candidate}
        )
        return Work(spec=spec, label=label)

    def _held_already(self, candidate: str) -> Certification | None:
        with self._signing.open() as register:
            try:
                held = certificate_in_force(register, self._config, candidate, time.time())
            except NotCertified:
                return None
            account = read_account(held.certificate.plan, register)
        return self._certification(account, holds=True, reason="it held its certificate already")

    def _conclude(self, candidate: str, plan: str, round_name: str) -> Certification:
        """Say what the register holds of a plan: nothing that the stages returned is relied on."""
        with self._signing.open() as register:
            account = read_account(plan, register)
            standing, why = account.tally.standing()
            if standing != "shown":
                if account.ended is None:
                    Campaign(account.plan, register, self._key()).end()
                return self._certification(account, holds=False, reason=f"{standing}: {why}")
            if (objection := objection_to(register, plan)) is not None:
                return self._certification(account, holds=False, reason=objection)
            if not register.filed_numbers(plan, CERTIFICATE):
                self._propose(candidate, account, register, round_name)
            try:
                held = certificate_in_force(register, self._config, candidate, time.time())
            except NotCertified as error:
                why = str(error).removeprefix("no certificate: ")
                return self._certification(account, holds=False, reason=why)
        level = held.certificate.level
        return self._certification(account, holds=True, reason=f"it holds a certificate of {level}")

    def _certification(self, account: Account, *, holds: bool, reason: str) -> Certification:
        return Certification(
            level=self._asked.level,
            plan=account.plan.digest,
            attempt=account.plan.attempt,
            claims=tuple(claim.to_json() for claim in account.tally.claims()),
            holds=holds,
            reason=reason if holds else f"no certificate: {reason}",
        )

    def _propose(
        self, candidate: str, account: Account, register: Register, round_name: str
    ) -> None:
        """Draw the certificate up; in a demo approve it, else wait for who may.

        Raises:
            AwaitsApproval: It is not a demo.
        """
        folder = self._root / PROPOSALS / round_name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "candidate", ignore_errors=True)
        self._engine.workspace.objects.checkout(candidate, folder / "candidate")
        file = folder / "certificate.json"
        proposed = _proposed_before(file, account.plan.digest) or self._draw_up(
            folder / "candidate", account, register
        )
        _write(file, proposed)
        if not self._signing.is_demo:
            raise AwaitsApproval(self._what_to_do(candidate, file))
        approved = approve(
            proposed,
            register,
            register.ring,
            self._signing.demo_key("approver"),
            identity=identity_of(folder / "candidate", self._scenario, self._rig),
            now_s=time.time(),
        )
        register.append(approved)
        _write(file, approved)

    def _draw_up(self, folder: Path, account: Account, register: Register) -> Signed:
        return issue(
            account.plan.digest,
            register,
            self._key(),
            identity=identity_of(folder, self._scenario, self._rig),
            now_s=time.time(),
            valid_days=self._asked.valid_days,
        )

    def _key(self) -> SigningKey:
        return SigningKey.read(self._signing.proposer)

    def _what_to_do(self, candidate: str, file: Path) -> str:
        register, ring = _quoted(self._signing.register), _quoted(self._signing.ring)
        place = f"--register {register} --ring {ring} --key THEIR-KEY"
        about = f"--candidate {_quoted(file.parent / 'candidate')} {place}"
        if self._config.scenario != self._scenario.id:
            about += f" --scenario {shlex.quote(self._config.scenario)}"
        if self._asked.rig is not None and RIGS.get(self._scenario.id) != self._asked.rig:
            about += f" --rig {shlex.quote(self._asked.rig)}"
        return (
            f"challenger {candidate[:12]} has shown level {self._asked.level}; its certificate "
            "waits for another person:\n"
            f"  loopwright certificate approve {_quoted(file)} {about}\n"
            "or, to turn it down:\n"
            f"  loopwright certificate object {_quoted(file)} {place} --reason ...\n"
            "Then run the same command again."
        )


def waiting(workspace: Workspace, run_id: str) -> Path | None:
    """Return the certificate for which a run waits to be approved; None if it does not."""
    signing = Signing.of(workspace.root)
    files = sorted((workspace.root / PROPOSALS).glob(f"{run_id}-round-*/certificate.json"))
    if signing is None or not files:
        return None
    decided = {d.id.replace("/", "-") for d in workspace.ledger.decisions(run_id)}
    with signing.open() as register:
        for file in files:
            plan = Certificate.from_statement(read_certificate(file).statement).plan
            is_answered = register.filed_numbers(plan, CERTIFICATE) or objection_to(register, plan)
            if file.parent.name not in decided and not is_answered:
                return file
    return None


def _signing_for(workspace: Path, recipe: str, asked: CertificateConfig) -> Signing:
    signing = Signing.of(workspace)
    if signing is None:
        if not asked.demo_keys:
            raise InvalidConfig(
                f"recipe {recipe!r} promotes only with a certificate of level {asked.level}: give "
                "the key of the person who proposes it (--key; 'loopwright keys new' makes one, "
                "'loopwright register new' the register)"
            )
        signing = make_demo(workspace)
    holder = KeyRing.read(signing.ring).holder(SigningKey.read(signing.proposer).id)
    if "proposer" not in holder.roles:
        raise Untrusted(f"{holder.person} may not propose certificates; that takes 'proposer'")
    return signing


def _proposed_before(file: Path, plan: str) -> Signed | None:
    """Return what was proposed for a plan, unless it can no longer be approved."""
    if not file.exists():
        return None
    signed = read_certificate(file)
    found = Certificate.from_statement(signed.statement)
    is_usable = found.plan == plan and time.time() < found.expires_s
    return replace(signed, signatures=signed.signatures[:1]) if is_usable else None


def _write(file: Path, signed: Signed) -> None:
    write_text_file(file, canonical_json(signed.to_json()).decode(), "certificate")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
