"""The way of the verbs to a fleet that runs: its address and tokens lie in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopwright.core.errors import LoopwrightError, MissingExtra
from loopwright.robot.access import Access, AccessRole
from loopwright.robot.fleet.site import FleetSilent, FleetSite
from loopwright.robot.journal.journal import Journal

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtra("httpx", "robot", "asking a fleet") from error

DEFAULT_FOLDER = Path("runs/fleet")


class FleetRefused(LoopwrightError):
    """The fleet answered, and said no; the message says why."""


class FleetDoor:
    """Asks a fleet over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        """Ask through a client that bears a token."""
        self._client = client

    def ask(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """Return what the fleet answers.

        Raises:
            FleetRefused: It says no.
            FleetSilent: It does not answer.
        """
        try:
            answer = self._client.request(method, path, **rest)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise FleetSilent(
                f"the fleet at {self._client.base_url} does not answer: {error or type(error)}; "
                "does it run? start it with: loopwright up tabletop"
            ) from error
        if answer.is_error:
            raise FleetRefused(f"the fleet refused: {said.get('message', said)}")
        return said


@contextmanager
def fleet_door(
    site: FleetSite, role: AccessRole, *, timeout_s: float = 10.0
) -> Iterator[FleetDoor]:
    """Open the way to the fleet of a folder.

    Args:
        site: The fleet's folder.
        role: With whose token.
        timeout_s: How long to wait for an answer.

    Raises:
        FleetSilent: No fleet runs there; the message says what to type.
    """
    url, token = site.read_address(), Access.read(site.tokens).tokens[role]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=timeout_s) as client:
        yield FleetDoor(client)


def site_of(folder: Path) -> FleetSite:
    """Return the folder of a fleet that has been started once.

    Raises:
        FleetSilent: There is none.
    """
    site = FleetSite(folder.resolve())
    if not site.journal.exists():
        raise FleetSilent(
            f"there is no fleet in {folder}; name its --folder, "
            "or start one with: loopwright up tabletop"
        )
    return site


@contextmanager
def journal_of(folder: Path) -> Iterator[Journal]:
    """Read the journal of a fleet, whether it runs or not.

    Raises:
        FleetSilent: There is none.
    """
    journal = Journal(site_of(folder).journal, read_only=True)
    try:
        yield journal
    finally:
        journal.close()
