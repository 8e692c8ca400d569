"""What the verbs about a site's register share: where it lies, and how its entries are called."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig
from loopwright.safety.directive.standing import Order, orders_in_force
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement


@dataclass(frozen=True, kw_only=True)
class SitePlace:
    """Where a site keeps its register and its key ring."""

    register: Path = Path("register")
    """Folder of the register."""
    ring: Path = Path("keys/ring.json")
    """Key ring file."""
    memory: Path = Path("~/.local/state/loopwright/registers")
    """Your own folder, in which it is remembered what of a register was verified."""

    def open(self) -> Register:
        """Open the register; it has to be closed."""
        return Register.open(self.register, KeyRing.read(self.ring), memory=self.own_memory)

    @property
    def own_memory(self) -> Path:
        """The folder of the memory, with the home folder filled in."""
        return self.memory.expanduser()

    def sign_and_append(self, statement: Statement, key: Path) -> tuple[Register, int]:
        """Sign a statement and register it; return the register, open, and its number."""
        register = self.open()
        return register, register.append(Signed.by(statement, SigningKey.read(key)))


Place = Annotated[SitePlace, tyro.conf.OmitArgPrefixes]
DEFAULT_PLACE = SitePlace()


def moment(text: str) -> float:
    """Return a moment such as ``2026-11-22T14:00`` (UTC unless it says otherwise), since 1970.

    Raises:
        InvalidConfig: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidConfig(f"{text!r} is no moment; expected like 2026-11-22T14:00") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def written(time_s: float) -> str:
    """Return a moment as text, UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def order_named(register: Register, name: str) -> Order:
    """Return the directive in force of a number, or of a digest or its beginning.

    Raises:
        InvalidConfig: There is none, or several.
    """
    orders = orders_in_force(register.urgent()).orders.values()
    found = [
        order
        for order in orders
        if str(order.directive.number) == name or (len(name) >= 8 and order.digest.startswith(name))
    ]
    if len(found) != 1:
        known = ", ".join(str(order.directive.number) for order in orders) or "none"
        raise InvalidConfig(
            f"{len(found)} directives in force are called {name!r}; there are: {known}"
        )
    return found[0]


def digest_named(register: Register, name: str) -> str:
    """Return the digest of the entry of a number, or of a digest.

    Raises:
        InvalidConfig: There is none.
    """
    if re.fullmatch(r"\d{1,12}", name):
        return register.entry(int(name)).digest
    if register.find(name) is None:
        raise InvalidConfig(f"{name!r} is neither the number nor the digest of an entry")
    return name


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON file that holds a table.

    Raises:
        InvalidConfig: It does not.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidConfig(f"{path} holds no table of fields")
    return data
