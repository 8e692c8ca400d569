"""People, keys and statements of a small site, for tests of whatever stands on the register."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopwright.core.digest import digest_json
from loopwright.safety.directive.deployment import Deployment, deployed
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import Directive
from loopwright.safety.keys import ROLES, Holder, KeyRing, Role, SigningKey
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement


def digest_of(name: str) -> str:
    """A digest to stand for something of that name."""
    return digest_json({"name": name})


@dataclass
class Site:
    """A register and one person per role."""

    folder: Path
    keys: dict[Role, SigningKey] = field(
        default_factory=lambda: {role: SigningKey.new() for role in ROLES}
    )

    @property
    def place(self) -> Path:
        return self.folder / "register"

    @property
    def ring(self) -> KeyRing:
        return KeyRing(
            Holder(person=f"the {role}", public=key.public, roles=frozenset({role}))
            for role, key in self.keys.items()
        )

    def begin(self, **options: Any) -> Register:
        return Register.create(self.place, self.ring, self.keys["authority"], **options)

    def open(self, **options: Any) -> Register:
        return Register.open(self.place, self.ring, **options)

    def signed(self, statement: Statement, *roles: Role) -> Signed:
        return Signed.by(statement, *(self.keys[role] for role in roles))

    def evidence(self, name: str = "repaired", role: Role = "operator") -> Signed:
        said = {"what": name}
        return self.signed(
            Statement(kind="evidence/v1", subjects={"log": digest_of(name)}, predicate=said), role
        )

    def deployed(self, register: Register, deployment: Deployment, start_s: float = 0.0) -> Signed:
        return self.signed(deployed(register.id, deployment, start_s), "operator")

    def directive(self, register: Register, **changes: Any) -> Signed:
        """An order to ground every ``arm7-v1``, unless told otherwise."""
        said: dict[str, Any] = {
            "number": register.last_directive + 1,
            "match": Match(any_of=(Clause(robot=("arm7-v1",)),)),
            "action": "ground",
            "reason": "the gripper may open by itself",
            **changes,
        }
        return self.signed(Directive(**said).statement(register.id), "authority")


def deployment(name: str = "cell-1", **changes: Any) -> Deployment:
    said: dict[str, Any] = {
        "id": name,
        "robot": "arm7-v1",
        "scenario": "reach-v1",
        "identity": {
            part: digest_of(part) for part in ("candidate", "scenario", "robot", "filter", "build")
        },
        "ancestors": (digest_of("parent"), digest_of("snapshot")),
        **changes,
    }
    return Deployment(**said)
