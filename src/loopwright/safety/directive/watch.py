"""What a deployment asks at every control step: may I move, and within which limits?

The answer is worked out by a thread of its own; the control loop reads eight bytes and two clocks.
As soon as those bytes, the epoch of the register, differ from what the answer was worked out for,
the thread looks again. If it does not get to it in time, the answer is no.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopwright.core.errors import (
    DamagedData,
    Grounded,
    InvalidConfig,
    LoopwrightError,
    StorageError,
    Untrusted,
)
from loopwright.safety.decision import Reason
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.lease import (
    LEASE_S,
    Ask,
    Clock,
    Lease,
    SystemClock,
    lease_path,
)
from loopwright.safety.directive.orders import Limits
from loopwright.safety.directive.standing import Binding, OrdersInForce
from loopwright.safety.keys import KeyRing
from loopwright.safety.register import EPOCH_BYTES, EPOCH_NAME, Register

State = Literal["clear", "restricted", "grounded"]

LOOK_S = 0.5
"""Longest pause between two looks at the register and the lease."""
PATIENCE_S = 3.0
"""How long a change of the epoch may stay unexplained; then nothing moves until it is."""
_EPOCH = struct.Struct("<Q")
_PAUSE_S = 0.02
"""Shortest pause between two looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How things stand for a deployment."""

    state: State
    reason: Reason = Reason.UNALTERED
    """``GROUNDED`` or ``LEASE`` while grounded."""
    detail: str = ""
    epoch: int = 0
    """Urgent entries of the register that were taken into account."""
    lease_until_s: float = 0.0
    """By the clock that counts since the machine started."""
    restrictions: tuple[Limits, ...] = ()
    """Overrides of limits that have to be kept."""
    bindings: tuple[Binding, ...] = ()
    """Every directive that affects the deployment, also those that do not bind yet."""

    @property
    def may_move(self) -> bool:
        """Whether motion is allowed."""
        return self.state != "grounded"

    def require(self) -> None:
        """Raise :class:`Grounded`, with the reason, unless motion is allowed."""
        if not self.may_move:
            raise Grounded(self.detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchConfig:
    """How a deployment watches."""

    memory: Path | None = None
    """Its own folder, in which it remembers how far the register had come; without it a rollback
    between two runs is noticed by the tower alone."""
    lease_s: float = LEASE_S
    """The longest lease that is accepted."""
    obeys: tuple[Limits, ...] = ()
    """Restrictions that the filter in use keeps already. Any other one grounds, until the filter
    is built anew."""
    background: bool = True
    """Look from a thread; otherwise whoever polls looks, when it is due."""

    def __post_init__(self) -> None:
        """Refuse a lease without length."""
        if not self.lease_s > 0:
            raise InvalidConfig(f"lease_s is {self.lease_s}; expected more than 0")


class DirectiveWatch:
    """Keeps a deployment's standing."""

    def __init__(
        self,
        folder: Path,
        ring: KeyRing,
        deployment: Deployment,
        config: WatchConfig | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Open the register and look at it once; without a lease nothing moves.

        Args:
            folder: Of the register.
            ring: Who is trusted with what.
            deployment: Who is asking.
            config: How to watch.
            clock: The clocks; by default those of the machine.

        Raises:
            DamagedData: There is no register.
            Untrusted: It does not hold.
        """
        config = config or WatchConfig()
        self._folder, self._ring, self._deployment = folder, ring, deployment
        self._digest = deployment.digest
        clock = clock or SystemClock()
        self._since_boot_s, self._clock_wall_s = clock.since_boot_s, clock.wall_s
        self._lease_s = config.lease_s
        self._obeys = [dict(limits) for limits in config.obeys]
        self._register = Register.open(folder, ring, memory=config.memory)
        self._orders, self._taken = OrdersInForce(), 0
        self._asked: dict[str, float] = {}
        """Number of a question to when it was asked."""
        self._last_asked_s = float("-inf")
        self._lease_until_s = 0.0
        self._refusal = ""
        self._ahead_s = float("-inf")
        """Seconds since 1970 less seconds since boot, by the tower's word."""
        self._map, self._mapped = _map_epoch(folder)
        self._explained, self._noticed_s = -1, float("inf")
        self._look_due_s, self._remembered = float("inf"), self._register.epoch
        self._lock, self._wake, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._standing = Standing(state="grounded", reason=Reason.LEASE, detail="not looked yet")
        self._thread: threading.Thread | None = None
        self.look()
        if config.background:
            self._look_due_s = float("inf")
            self._thread = threading.Thread(target=self._keep_looking, daemon=True)
            self._thread.start()

    def poll(self, now_s: float | None = None) -> Standing:
        """Say how things stand; called at every control step.

        Args:
            now_s: Of the control loop; not used, as a lease runs by a clock of its own.
        """
        now_s = self._since_boot_s()
        if _EPOCH.unpack_from(self._map)[0] != self._explained:
            self._notice(now_s)
        elif now_s >= self._look_due_s:
            self.look()
        standing = self._standing
        if standing.state == "grounded":
            return standing
        if now_s >= standing.lease_until_s:
            return self._no_lease()
        if now_s > self._noticed_s + PATIENCE_S:
            return self._grounded("the register changed, and what it says could not be read")
        return standing

    def look(self) -> Standing:
        """Read the register and the lease, and work out how things stand."""
        with self._lock:
            began_s = self._since_boot_s()
            epoch = -1
            try:
                epoch = self._read_epoch()
                self._take_orders()
                self._renew(began_s)
                self._standing = self._judge(epoch)
            except StorageError:
                # Out of reach. How long that is borne is said by the lease, which cannot be
                # renewed either.
                self._standing = self._judge(None)
            except LoopwrightError as error:
                self._standing = self._grounded(str(error))
            if self._thread is None:
                self._look_due_s = self._since_boot_s() + LOOK_S
            self._explained = epoch if epoch == self._register.epoch else -1
            if began_s >= self._noticed_s:
                self._noticed_s = float("inf")
        self._remember()
        return self._standing

    def close(self) -> None:
        """Stop looking; idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._register.close()
        self._map.close()

    def _notice(self, now_s: float) -> None:
        """See to it that somebody looks."""
        if self._thread is None:
            self.look()
            return
        self._noticed_s = min(self._noticed_s, now_s)
        self._wake.set()

    def _keep_looking(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            self._wake.wait(LOOK_S)
            self._wake.clear()
            if not self._stop.is_set():
                self.look()

    def _read_epoch(self) -> int:
        """Return the epoch, from the file that lies there now."""
        try:
            there = os.stat(self._folder / EPOCH_NAME)
        except OSError as error:
            raise StorageError(f"the epoch of {self._folder} is out of reach: {error}") from error
        if (there.st_dev, there.st_ino) != self._mapped:
            # The old map stays open: the control loop may be reading it.
            self._map, self._mapped = _map_epoch(self._folder)
        return _EPOCH.unpack_from(self._map)[0]

    def _take_orders(self) -> None:
        self._register.refresh()
        for entry in self._register.urgent(since=self._taken):
            self._orders.take(entry)
        self._taken = len(self._register)

    def _remember(self) -> None:
        """Write down how far the register had come, once the answer is out."""
        if self._register.epoch != self._remembered:
            self._remembered = self._register.epoch
            with contextlib.suppress(StorageError):  # the tower would still notice a rollback
                self._register.remember()

    def _judge(self, epoch: int | None) -> Standing:
        """Work out the standing from what is known.

        Args:
            epoch: As the file says; None if it is out of reach.
        """
        now_s = self._since_boot_s()
        if epoch is not None and epoch < self._register.epoch:
            return self._grounded(
                f"the epoch of the register went back to {epoch}, it was {self._register.epoch}"
            )
        bindings = self._orders.bindings(self._deployment, self._wall_s(now_s))
        reasons = [binding.why for binding in bindings if binding.effect == "grounded"]
        reasons += self._certificate_problems(self._wall_s(now_s))
        restrictions = tuple(b.limits for b in bindings if b.effect == "restricted")
        reasons += [
            f"{binding.why}; the filter in use does not keep the limits {dict(binding.limits)}"
            for binding in bindings
            if binding.effect == "restricted" and dict(binding.limits) not in self._obeys
        ]
        if reasons:
            return self._grounded("; ".join(reasons), restrictions, bindings)
        if self._refusal or now_s >= self._lease_until_s:
            return self._no_lease()
        return Standing(
            state="restricted" if restrictions else "clear",
            epoch=self._register.epoch,
            lease_until_s=self._lease_until_s,
            restrictions=restrictions,
            bindings=bindings,
            detail="; ".join(b.why for b in bindings if b.effect == "restricted"),
        )

    def _wall_s(self, now_s: float) -> float:
        """Return the time of day: the later of the own clock and the tower's.

        A clock that was set back does not postpone what binds from a certain time on.
        """
        return max(self._clock_wall_s(), now_s + self._ahead_s)

    def _certificate_problems(self, wall_s: float) -> list[str]:
        """Return why the certificate does not carry the deployment (any more)."""
        digest = self._deployment.certificate
        if not digest:
            return []
        if digest in self._orders.suspended:
            return [f"certificate {digest[:16]} is suspended"]
        entry = self._register.find(digest)
        if entry is None:
            return [f"certificate {digest[:16]} is not registered"]
        expires_s = entry.statement.predicate.get("expires_s")
        if not isinstance(expires_s, (int, float)) or wall_s >= expires_s:
            return [f"certificate {digest[:16]} has expired"]
        return []

    def _renew(self, now_s: float) -> None:
        """Take in the tower's answer, and ask again in time."""
        self._asked = {n: at for n, at in self._asked.items() if now_s < at + self._lease_s}
        if self._asked:
            self._take_answer(now_s)
        wanted = self._refusal or self._lease_until_s - now_s < self._lease_s * 2 / 3
        if wanted and now_s >= self._last_asked_s + self._lease_s / 3:
            ask = Ask(
                deployment=self._deployment.id, digest=self._digest, nonce=secrets.token_hex(16)
            )
            self._last_asked_s = self._asked[ask.nonce] = self._since_boot_s()
            ask.write(self._folder)

    def _take_answer(self, now_s: float) -> None:
        try:
            lease = Lease.read(lease_path(self._folder, self._deployment.id), self._ring)
        except (Untrusted, DamagedData):
            return  # what no tower signed is no answer
        if lease is None or lease.ask.digest != self._digest:
            return
        asked_s = self._asked.pop(lease.ask.nonce, None)
        if asked_s is None or lease.register != self._register.id:
            return
        self._ahead_s = max(self._ahead_s, lease.time_s - now_s)
        self._refusal = lease.refusal
        if not lease.refusal and self._sees_what(lease):
            until_s = asked_s + min(self._lease_s, lease.seconds)
            self._lease_until_s = max(self._lease_until_s, until_s)

    def _sees_what(self, lease: Lease) -> bool:
        """Tell whether the register seen here is the one the tower sees.

        Raises:
            Untrusted: It is another one.
        """
        if lease.count > len(self._register):
            self._take_orders()
        if lease.count > len(self._register):
            return False
        if self._register.digest_at(lease.count) != lease.head:
            raise Untrusted(
                f"the tower sees another register: entry {lease.count} differs from the one here"
            )
        return True

    def _no_lease(self) -> Standing:
        detail = f"no lease: {self._refusal or 'the tower was not heard of in time'}"
        return Standing(
            state="grounded",
            reason=Reason.LEASE,
            detail=detail,
            epoch=self._register.epoch,
            lease_until_s=self._lease_until_s,
        )

    def _grounded(
        self,
        detail: str,
        restrictions: tuple[Limits, ...] = (),
        bindings: tuple[Binding, ...] = (),
    ) -> Standing:
        return Standing(
            state="grounded",
            reason=Reason.GROUNDED,
            detail=detail,
            epoch=self._register.epoch,
            lease_until_s=self._lease_until_s,
            restrictions=restrictions,
            bindings=bindings,
        )


def _map_epoch(folder: Path) -> tuple[mmap.mmap, tuple[int, int]]:
    """Return the epoch file in memory, and which file that is."""
    try:
        with (folder / EPOCH_NAME).open("rb") as file:
            found = os.fstat(file.fileno())
            view = mmap.mmap(file.fileno(), EPOCH_BYTES, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise StorageError(f"the epoch of {folder} is out of reach: {error}") from error
    return view, (found.st_dev, found.st_ino)
