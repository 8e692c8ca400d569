"""Which orders are in force, and what they leave a deployment to do: folds over the register.

Nothing here reads a clock or a file; what was decided can be worked out again from the entries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loopwright.core.digest import Json
from loopwright.safety.admission import digests_in
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.orders import (
    ALTERNATIVE,
    CLOSURE,
    DIRECTIVE,
    RELEASE,
    SUSPENSION,
    Directive,
    Limits,
)
from loopwright.safety.entry import Entry

Effect = Literal["grounded", "restricted", "due", "clear"]
"""What one directive means for a deployment now. ``due``: it binds from its compliance time on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A registered directive."""

    directive: Directive
    digest: str
    entry: int
    """Number in the register."""
    time_s: float
    """When it was registered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """An approved other means of compliance."""

    means: str
    limits: Limits
    until_s: float
    deployments: frozenset[str]
    """Ids; empty: all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """A directive, and what it means for one deployment now."""

    order: Order
    effect: Effect
    why: str
    """A sentence for the operator."""
    limits: Limits = field(default_factory=dict)
    """Of ``restricted``."""


@dataclass(kw_only=True, slots=True)
class OrdersInForce:
    """What the orders in a register add up to, taken in one entry after the other."""

    orders: dict[str, Order] = field(default_factory=dict)
    """Digest to directive; those that are over are removed."""
    released: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Digest of a directive to the ids of deployments it is over for."""
    closed: set[tuple[str, str]] = field(default_factory=set)
    """Id of a deployment and digest of the directive it complied with."""
    alternatives: dict[str, list[Alternative]] = field(default_factory=lambda: defaultdict(list))
    suspended: set[str] = field(default_factory=set)
    """Digests of certificates."""

    def take(self, entry: Entry) -> None:
        """Take in the next entry; kinds that are no orders change nothing."""
        said: Mapping[str, Any] = entry.statement.predicate
        if entry.kind == DIRECTIVE:
            self._take_directive(entry)
        elif entry.kind == RELEASE:
            if said["deployments"]:
                self.released[said["directive"]].update(said["deployments"])
            else:
                self.orders.pop(said["directive"], None)
        elif entry.kind == CLOSURE:
            self.closed.add((said["deployment"], said["directive"]))
        elif entry.kind == ALTERNATIVE:
            self.alternatives[said["directive"]].append(_alternative(said))
        elif entry.kind == SUSPENSION:
            self.suspended.update(digests_in(said, "certificate"))

    def _take_directive(self, entry: Entry) -> None:
        directive = Directive.from_statement(entry.statement)
        for digest in directive.supersedes:
            self.orders.pop(digest, None)
        self.orders[entry.digest] = Order(
            directive=directive, digest=entry.digest, entry=entry.number, time_s=entry.time_s
        )

    def bindings(self, deployment: Deployment, now_s: float) -> tuple[Binding, ...]:
        """Return every directive in force that affects a deployment, in order of their numbers.

        Args:
            deployment: Whom it is about.
            now_s: Seconds since 1970.
        """
        return tuple(
            self._binding(order, deployment, now_s)
            for order in self.orders.values()
            if order.directive.match.affects(deployment)
        )

    def _binding(self, order: Order, deployment: Deployment, now_s: float) -> Binding:
        directive, name = order.directive, f"directive {order.directive.number}"
        if deployment.id in self.released[order.digest]:
            return Binding(order=order, effect="clear", why=f"{name} was released for it")
        if directive.action == "inspect" and (deployment.id, order.digest) in self.closed:
            return Binding(order=order, effect="clear", why=f"{name} was complied with")
        if now_s < directive.comply_by_s:
            left_h = (directive.comply_by_s - now_s) / 3600
            return Binding(order=order, effect="due", why=f"{name} binds in {left_h:.1f} h")
        for other in reversed(self.alternatives[order.digest]):
            if now_s < other.until_s and (
                not other.deployments or deployment.id in other.deployments
            ):
                why = f"{name}, by alternative means: {other.means}"
                effect = "restricted" if other.limits else "clear"
                return Binding(order=order, effect=effect, why=why, limits=other.limits)
        why = f"{name}: {directive.reason}"
        if directive.action == "restrict":
            return Binding(order=order, effect="restricted", why=why, limits=directive.limits)
        if directive.action == "inspect":
            why = f"{name}: {directive.closing_action!r} is overdue"
        return Binding(order=order, effect="grounded", why=why)


def orders_in_force(entries: Iterable[Entry]) -> OrdersInForce:
    """Return what the orders among some entries of a register add up to."""
    orders = OrdersInForce()
    for entry in entries:
        orders.take(entry)
    return orders


def directives_for(
    deployment: Deployment, entries: Iterable[Entry], now_s: float
) -> tuple[Binding, ...]:
    """Return every directive in force that affects a deployment, and what it means now.

    Args:
        deployment: Whom it is about.
        entries: Of the register, in order.
        now_s: Seconds since 1970.
    """
    return orders_in_force(entries).bindings(deployment, now_s)


def _alternative(said: Mapping[str, Any]) -> Alternative:
    limits: Mapping[str, Json] = said["limits"]
    return Alternative(
        means=said["means"],
        limits=dict(limits),
        until_s=float(said["until_s"]),
        deployments=frozenset(said["deployments"]),
    )
