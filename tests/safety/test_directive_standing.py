from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from register_site import Site, deployment

from loopwright.core.errors import InvalidConfig, Untrusted
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import alternative, closure, release
from loopwright.safety.directive.standing import directives_for
from loopwright.safety.register import Register

CELL, OTHER = deployment("cell-1"), deployment("cell-2", robot="sawyer-v1")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def register(site: Site) -> Register:
    return site.begin()


def order(site: Site, register: Register, **changes: Any) -> str:
    signed = site.directive(register, **changes)
    register.append(signed)
    return signed.statement.digest


def evidence(site: Site, register: Register, name: str = "repaired") -> str:
    signed = site.evidence(name)
    register.append(signed)
    return signed.statement.digest


def effects(register: Register, now_s: float = 1000.0, cell: Any = CELL) -> list[str]:
    return [binding.effect for binding in directives_for(cell, register.statements(), now_s)]


def test_an_order_to_ground_grounds_those_it_matches(site: Site, register: Register) -> None:
    order(site, register)
    assert effects(register) == ["grounded"]
    assert effects(register, cell=OTHER) == []


def test_it_binds_from_its_compliance_time_on(site: Site, register: Register) -> None:
    order(site, register, comply_by_s=2000.0)
    assert effects(register, 1999.9) == ["due"]
    assert effects(register, 2000.0) == ["grounded"]


def test_an_inspection_grounds_when_it_is_overdue(site: Site, register: Register) -> None:
    digest = order(
        site, register, action="inspect", closing_action="measure the backlash", comply_by_s=2000.0
    )
    assert effects(register, 2000.0) == ["grounded"]
    done = closure(register.id, "cell-1", digest, [evidence(site, register)])
    with pytest.raises(Untrusted, match="operator"):
        register.append(site.signed(done, "authority"))
    register.append(site.signed(done, "operator"))
    assert effects(register, 2000.0) == ["clear"]
    assert effects(register, 2000.0, deployment("cell-9")) == ["grounded"]


def test_a_closure_does_not_end_an_order_to_ground(site: Site, register: Register) -> None:
    digest = order(site, register, closing_action="replace the spring")
    done = closure(register.id, "cell-1", digest, [evidence(site, register)])
    register.append(site.signed(done, "operator"))
    assert effects(register) == ["grounded"]


def test_a_release_takes_registered_evidence_of_somebody_else(
    site: Site, register: Register
) -> None:
    digest = order(site, register)
    with pytest.raises(InvalidConfig, match="without evidence"):
        release(register.id, digest, evidence=())
    unknown = release(register.id, digest, evidence=["0" * 64])
    with pytest.raises(Untrusted, match="evidence"):
        register.append(site.signed(unknown, "authority"))
    itself = release(register.id, digest, evidence=[digest])
    with pytest.raises(Untrusted, match="no registered evidence"):
        register.append(site.signed(itself, "authority"))
    shown = release(register.id, digest, evidence=[evidence(site, register)])
    with pytest.raises(Untrusted, match="authority"):
        register.append(site.signed(shown, "operator"))
    assert effects(register) == ["grounded"]
    register.append(site.signed(shown, "authority"))
    assert effects(register) == []


def test_nobody_releases_on_their_own_evidence(tmp_path: Path) -> None:
    from loopwright.safety.keys import Holder, KeyRing

    site = Site(tmp_path)
    both = KeyRing(
        Holder(person="Ana", public=key.public, roles=frozenset({role}))
        for role, key in site.keys.items()
        if role in ("authority", "operator")
    )
    register = Register.create(site.place, both, site.keys["authority"])
    digest = order(site, register)
    shown = release(register.id, digest, evidence=[evidence(site, register)])
    with pytest.raises(Untrusted, match="somebody else"):
        register.append(site.signed(shown, "authority"))


def test_a_release_may_be_for_some_only(site: Site, register: Register) -> None:
    digest = order(site, register)
    shown = [evidence(site, register)]
    register.append(
        site.signed(
            release(register.id, digest, evidence=shown, deployments=["cell-1"]), "authority"
        )
    )
    assert effects(register) == ["clear"]
    assert effects(register, cell=deployment("cell-9")) == ["grounded"]


def test_an_alternative_holds_until_its_end(site: Site, register: Register) -> None:
    digest = order(site, register)
    approved = alternative(
        register.id,
        digest,
        means="supervised, at a quarter of the speed",
        limits={"point_speed_m_s": 0.05},
        until_s=5000.0,
        deployments=["cell-1"],
    )
    with pytest.raises(Untrusted):
        register.append(site.signed(approved, "operator"))
    register.append(site.signed(approved, "authority"))
    (binding,) = directives_for(CELL, register.statements(), 1000.0)
    assert (binding.effect, dict(binding.limits)) == ("restricted", {"point_speed_m_s": 0.05})
    assert effects(register, 5000.0) == ["grounded"]
    assert effects(register, 1000.0, deployment("cell-9")) == ["grounded"]


def test_superseding_takes_evidence_and_ends_the_old_order(site: Site, register: Register) -> None:
    first = order(site, register)
    with pytest.raises(InvalidConfig, match="evidence"):
        order(site, register, supersedes=(first,))
    order(
        site,
        register,
        action="restrict",
        limits={"point_speed_m_s": 0.1},
        supersedes=(first,),
        evidence=(evidence(site, register),),
    )
    assert effects(register) == ["restricted"]


def test_a_released_order_does_not_come_back_by_copying_it(site: Site, register: Register) -> None:
    signed = site.directive(register)
    register.append(signed)
    digest = signed.statement.digest
    shown = release(register.id, digest, evidence=[evidence(site, register)])
    register.append(site.signed(shown, "authority"))
    with pytest.raises(Untrusted):
        register.append(signed)
    order(site, register, match=Match(any_of=(Clause(deployment=("cell-1",)),)))
    with pytest.raises(Untrusted):
        register.append(site.signed(shown, "authority"))  # and neither does its release
    assert effects(register) == ["grounded"]
