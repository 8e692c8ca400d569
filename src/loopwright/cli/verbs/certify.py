"""``loopwright certify``: test a candidate by a registered plan, and propose its certificate."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.progress import progress_bar
from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.core.digest import canonical_json
from loopwright.loop.certification import (
    Request,
    identity_of,
    open_campaign,
    open_subject,
    run_campaign,
)
from loopwright.safety.certificate.campaign import Campaign
from loopwright.safety.certificate.claims import Level
from loopwright.safety.certificate.issue import issue
from loopwright.safety.keys import SigningKey


@dataclass(frozen=True, kw_only=True)
class Aims:
    """What is to be shown."""

    level: Level = "D"
    """Violations per episode: D at most 5 %, C 1 %, B 0.1 %."""
    task_failure: float | None = None
    """Also show that the task fails less often than this, with the filter on."""
    unfiltered: int | None = None
    """Without the filter, run so many episodes and state what happens, instead of showing the
    level there too."""
    strata: dict[str, int] = field(default_factory=dict)
    """Domain parameters and their numbers of parts; each part must show every claim."""
    episodes: int | None = None
    """Sealed seeds a stratum; by default 15 divided by the bound of the level."""
    valid_days: float = 90
    """How long the certificate is to hold once approved."""


def main(
    candidate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CANDIDATE")],
    /,
    *,
    scenario: str,
    key: Path,
    rig: str | None = None,
    aims: Annotated[Aims, tyro.conf.OmitArgPrefixes] = Aims(),
    out: Path = Path("certificate.json"),
    place: Place = DEFAULT_PLACE,
) -> int:
    """Run a campaign on sealed seeds, every episode logged, and propose a certificate.

    The plan is registered before the first episode; its seeds are burnt, whatever happens. Running
    the same command again goes on with the same plan. The certificate counts for nothing until
    another person has approved it.

    Args:
        candidate: Candidate folder.
        scenario: Scenario id or path of a scenario file.
        key: Private key of a proposer.
        rig: Where the robot and its limits come from, package.module:function; by default what is
            built in for the scenario.
        aims: What is to be shown.
        out: File of the proposed certificate.
        place: Where the register lies.
    """
    request = Request(
        candidate=candidate,
        scenario=scenario,
        level=aims.level,
        rig=rig,
        task_failure=aims.task_failure,
        unfiltered=aims.unfiltered,
        strata=aims.strata,
        episodes=aims.episodes,
    )
    signer = SigningKey.read(key)
    subject = open_subject(request)
    with place.open() as register:
        campaign = open_campaign(request, subject, register, signer)
        print(f"plan {campaign.plan.digest[:16]}, attempt {campaign.plan.attempt}")
        with progress_bar("episodes") as progress:
            standing = run_campaign(campaign, subject, progress)
        _print_claims(campaign)
        if standing != "shown":
            return 1
        signed = issue(
            campaign.plan.digest,
            register,
            signer,
            identity=identity_of(candidate, subject.scenario, subject.rig),
            now_s=time.time(),
            valid_days=aims.valid_days,
        )
    out.write_bytes(canonical_json(signed.to_json()))
    print(f"proposed: {out}; it waits for another person: loopwright certificate approve {out}")
    return 0


def _print_claims(campaign: Campaign) -> None:
    for claim in campaign.claims():
        print(f"  {'shown' if campaign.tally.is_met(claim) else 'not shown'}: {claim}")
    print(f"{campaign.standing()[0]}: {campaign.standing()[1]}")
