"""The tower: renews the leases of the deployments that a register knows."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.safety.directive.deployment import KIND, Deployment
from loopwright.safety.directive.lease import (
    LEASE_S,
    Ask,
    Clock,
    Lease,
    SystemClock,
    lease_path,
    replace_file,
)
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.register import LEASES_NAME, Register


class Tower:
    """Answers the questions of deployments; when it falls silent, all of them come to a stop."""

    def __init__(
        self,
        folder: Path,
        ring: KeyRing,
        key: SigningKey,
        *,
        memory: Path | None = None,
        lease_s: float = LEASE_S,
        clock: Clock | None = None,
    ) -> None:
        """Open the register.

        Args:
            folder: Of the register.
            ring: Who is trusted with what.
            key: Signs the leases; its holder has the role ``tower``.
            memory: Where this tower remembers the register, so that it notices a rollback.
            lease_s: How long a lease lasts.
            clock: The clocks; by default those of the machine.

        Raises:
            Untrusted: The key is no tower's, or the register does not hold.
            InvalidConfig: A lease would have no length.
        """
        if "tower" not in ring.holder(key.id).roles:
            raise Untrusted(f"{ring.holder(key.id).person} has no role 'tower' on the key ring")
        if not lease_s > 0:
            raise InvalidConfig(f"lease_s is {lease_s}; expected more than 0")
        self._register = Register.open(folder, ring, memory=memory)
        self._folder, self._key, self._lease_s = folder, key, lease_s
        self._clock = clock or SystemClock()
        self._answered: dict[str, str] = {}
        """Name of a question's file to the last question answered."""

    def turn(self) -> int:
        """Answer what was asked since the last turn; return how many answers that was.

        Raises:
            Untrusted: The register was tampered with; nothing is answered.
            StorageError: The register is out of reach.
        """
        self._register.refresh()
        return sum(self._answer(path) for path in self._questions())

    def run(self, stop: threading.Event, *, period_s: float = 0.25) -> None:
        """Answer until told to stop.

        A register out of reach is waited for, while leases run out. One that was tampered with
        ends the tower.

        Args:
            stop: Ends it when set.
            period_s: Pause between turns.

        Raises:
            Untrusted: The register was tampered with.
            DamagedData: The register is damaged.
        """
        while not stop.is_set():
            with contextlib.suppress(StorageError):  # no lease is renewed, which is the answer
                self.turn()
            stop.wait(period_s)

    def close(self) -> None:
        """Let go of the register."""
        self._register.close()

    def _questions(self) -> list[Path]:
        try:
            with os.scandir(self._folder / LEASES_NAME) as found:
                return [Path(item.path) for item in found if item.name.endswith(".ask")]
        except OSError as error:
            raise StorageError(f"the leases of {self._folder} are out of reach: {error}") from error

    def _answer(self, path: Path) -> bool:
        ask = Ask.read(path)
        if ask is None or self._answered.get(path.name) == ask.nonce:
            return False
        lease = Lease(
            register=self._register.id,
            ask=ask,
            seconds=self._lease_s,
            count=len(self._register),
            head=self._register.head,
            time_s=self._clock.wall_s(),
            refusal=self._refusal(ask),
        )
        data = canonical_json(lease.signed_by(self._key).to_json())
        replace_file(lease_path(self._folder, ask.deployment), data)
        self._answered[path.name] = ask.nonce
        return True

    def _refusal(self, ask: Ask) -> str:
        """Return why a deployment gets no lease; empty if it gets one."""
        said = list(self._register.filed(ask.deployment, KIND))
        if not said:
            return f"no operator has registered a deployment {ask.deployment}"
        try:
            known = Deployment.from_json(said[-1].statement.predicate)
        except DamagedData as error:
            return str(error)
        if known.digest != ask.digest:
            return (
                f"entry {said[-1].number} of the register describes {ask.deployment} otherwise; "
                "register what runs now"
            )
        return ""
