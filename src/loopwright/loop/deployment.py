"""Handing a champion out: the one way from a run to a robot, and it fails closed.

``deployments/NAME`` appears whole or not at all, and only after the files that lie in it were held
against a certificate in force::

    candidate/         the champion, copied
    certificate.json   its certificate, with both signatures
    deployment.json    what the register is told: digests, ancestors, robot, scenario

Nothing moves by this alone. A tower renews the lease of a deployment only once an operator has
registered it, and the guard on the robot checks everything again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, NotCertified, UsageError
from loopwright.core.policy import Candidate
from loopwright.loop.certification import find_rig, identity_with
from loopwright.loop.certified import Held, certificate_of
from loopwright.loop.config import LoopConfig
from loopwright.loop.signing import Signing
from loopwright.safety.certificate.verify import SUSPENSION, open_for_deployment, suspended
from loopwright.safety.directive.deployment import Deployment, ancestors_of, deployed
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed
from loopwright.scenarios.registry import get_scenario
from loopwright.store.durable import publish, storing, sync
from loopwright.store.workspace import Workspace

CANDIDATE, CERTIFICATE, DEPLOYMENT = "candidate", "certificate.json", "deployment.json"


def hand_out(workspace: Workspace, run_id: str, name: str) -> Path:
    """Lay the champion of a run out as a deployment, with the certificate it holds.

    Args:
        workspace: Where the run is on record.
        run_id: The run.
        name: Of the deployment: ``"cell-3"``. One that is there is replaced if it differs.

    Returns:
        Its folder.

    Raises:
        NotCertified: The champion holds no certificate that the recipe asks for, now.
        Untrusted: Its certificate is not signed as it must be.
        InvalidConfig: The run has no champion, or the name is none.
    """
    config = LoopConfig.from_json(workspace.ledger.run(run_id).config)
    champion = workspace.ledger.champion(run_id)
    if champion is None:
        raise InvalidConfig(f"run {run_id} has no champion yet")
    held = certificate_of(workspace, config, champion)
    final = workspace.root / "deployments" / name
    description = _describe(workspace, name, champion, held, config)
    with storing(final), _scratch(workspace) as folder:
        workspace.objects.checkout(champion, folder / "linked")
        shutil.copytree(folder / "linked", folder / "whole" / CANDIDATE)
        whole = folder / "whole"
        (whole / CERTIFICATE).write_bytes(canonical_json(held.entry.signed.to_json()))
        (whole / DEPLOYMENT).write_text(json.dumps(description.to_json(), indent=1) + "\n")
        check(whole, workspace, config)
        for path in sorted(whole.rglob("*")):
            sync(path)
        if final.exists():
            final.rename(folder / "replaced")
        publish(whole, final, "deployment")
    return final


def check(folder: Path, workspace: Workspace, config: LoopConfig) -> None:
    """Refuse a deployment folder unless exactly what lies in it may be loaded, now.

    Raises:
        NotCertified: It may not.
        Untrusted: Its certificate is not signed as it must be.
    """
    signing = Signing.of(workspace.root)
    if config.certificate is None or signing is None:
        raise NotCertified("no certificate: this run has never asked for one")
    scenario = get_scenario(config.scenario)
    rig = find_rig(scenario, config.certificate.rig)
    with signing.open() as register:
        open_for_deployment(
            folder / CANDIDATE,
            folder / CERTIFICATE,
            ring=register.ring,
            identity=identity_with("0" * 64, scenario, rig),  # what lies there is digested there
            now_s=time.time(),
            revoked=suspended(register.statements(SUSPENSION)),
        )


def register_deployment(workspace: Workspace, folder: Path, key: SigningKey) -> int:
    """Sign that a deployment runs from now on, and register it; return the entry's number.

    Raises:
        Untrusted: The key is not that of an operator.
        DamagedData: The folder describes no deployment.
    """
    signing = Signing.of(workspace.root)
    if signing is None:
        raise NotCertified("no certificate: this workspace uses no register")
    try:
        deployment = Deployment.from_json(json.loads((folder / DEPLOYMENT).read_bytes()))
    except (OSError, ValueError) as error:
        raise DamagedData(f"{folder} describes no deployment: {error}") from error
    with signing.open() as register:
        return register.append(Signed.by(deployed(register.id, deployment, time.time()), key))


def _describe(
    workspace: Workspace, name: str, champion: str, held: Held, config: LoopConfig
) -> Deployment:
    assert config.certificate is not None
    certificate = held.certificate
    scenario = get_scenario(config.scenario)

    def lineage_of(digest: str) -> Mapping[str, Json] | None:
        try:
            with _scratch(workspace) as folder:
                workspace.objects.checkout(digest, folder / "candidate")
                return Candidate.open(folder / "candidate").lineage
        except (DamagedData, UsageError):  # data, or a model that is no longer here
            return None

    return Deployment(
        id=name,
        robot=find_rig(scenario, config.certificate.rig).spec.robot,
        scenario=scenario.id,
        identity=certificate.identity.subjects,
        ancestors=ancestors_of(lineage_of(champion) or {}, lineage_of),
        certificate=certificate.digest,
    )


@contextmanager
def _scratch(workspace: Workspace) -> Iterator[Path]:
    """Yield a folder of the workspace that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="deploy-", dir=workspace.staging_folder) as folder:
        yield Path(folder)
