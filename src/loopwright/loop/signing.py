"""Whose register and keys the certificates of a workspace use: a site's, or those of a demo.

``site.json`` in the workspace says where they lie, so that stages, and whoever looks later, find
them. It holds no secret: of a key it holds the path.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey
from loopwright.safety.register import Register
from loopwright.store.durable import write_text_file

FILE_NAME = "site.json"
DEMO_FOLDER = "demo-site"
DEMO_ROLES: tuple[Role, ...] = ("proposer", "approver", "authority", "operator")
_DEMO_NOTE = """These keys were made by one process, for a demonstration. It holds all of them, so
two signatures here are not two people. No register but the one beside this file trusts them.
For work that counts: loopwright keys new, loopwright register new, loopwright run --key.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """Where the register, its key ring and the proposer's key lie."""

    register: Path
    ring: Path
    memory: Path
    """Where it is remembered what of the register was verified."""
    proposer: Path
    """Private key that registers plans, logs episodes and proposes certificates."""
    is_demo: bool = False
    """The process that turns the loop holds the keys of all roles."""

    @classmethod
    def of(cls, workspace: Path) -> Signing | None:
        """Return what a workspace uses; None if it uses nothing yet.

        Raises:
            DamagedData: What it says about that cannot be read.
        """
        file = workspace / FILE_NAME
        if not file.exists():
            return None
        try:
            data: Mapping[str, Any] = json.loads(file.read_bytes())
            paths = {n: workspace / data[n] for n in ("register", "ring", "memory", "proposer")}
            return cls(**paths, is_demo=bool(data["is_demo"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedData(
                f"{file} does not say where register and keys are: {error}"
            ) from error

    def keep(self, workspace: Path) -> None:
        """Have a workspace use this from now on.

        Raises:
            InvalidConfig: It has campaigns in another register.
        """
        before = Signing.of(workspace)
        if before is not None and before.register.resolve() != self.register.resolve():
            raise InvalidConfig(
                f"the certificates of {workspace} are registered in {before.register}, not in "
                f"{self.register}; choose another workspace"
            )
        root = workspace.resolve()
        data = {
            name: os.path.relpath(path, root) if path.is_relative_to(root) else str(path)
            for name, path in asdict(self).items()
            if name != "is_demo"
        }
        text = json.dumps({**data, "is_demo": self.is_demo}, indent=1) + "\n"
        write_text_file(workspace / FILE_NAME, text, "place of register and keys")

    def open(self) -> Register:
        """Open the register; it has to be closed."""
        return Register.open(self.register, KeyRing.read(self.ring), memory=self.memory)

    def demo_key(self, role: Role) -> SigningKey:
        """Return one of the keys of a demo.

        Raises:
            InvalidConfig: This is no demo; the keys of people are theirs.
        """
        if not self.is_demo:
            raise InvalidConfig(f"the key of the {role} is that person's; it is not known here")
        return SigningKey.read(self.ring.parent / f"demo-{role}.key")


def make_demo(workspace: Path) -> Signing:
    """Make keys and a register inside a workspace, unless they are there, and have it use them."""
    folder = workspace.resolve() / DEMO_FOLDER
    if not folder.exists():
        partial = Path(tempfile.mkdtemp(prefix="demo-site-", dir=workspace / "staging"))
        _lay_out(partial)
        partial.rename(folder)
    signing = Signing(
        register=folder / "register",
        ring=folder / "keys" / "ring.json",
        memory=folder / "memory",
        proposer=folder / "keys" / "demo-proposer.key",
        is_demo=True,
    )
    signing.keep(workspace)
    return signing


def _lay_out(folder: Path) -> None:
    keys = folder / "keys"
    keys.mkdir()
    (folder / "README.txt").write_text(_DEMO_NOTE, encoding="utf-8")
    made: dict[Role, SigningKey] = {role: SigningKey.new() for role in DEMO_ROLES}
    for role, key in made.items():
        key.write(keys / f"demo-{role}.key")
    ring = KeyRing(
        Holder(person=f"demo {role}", public=key.public, roles=frozenset({role}))
        for role, key in made.items()
    )
    ring.write(keys / "ring.json")
    Register.create(folder / "register", ring, made["authority"]).close()
