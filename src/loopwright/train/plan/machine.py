"""The machine that a plan supposes: stated, not measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

from loopwright.core.errors import InvalidConfig

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One accelerator of many, and what joins them. By default an H100 (SXM) as its maker has it.

    The way between nodes is that of a card of 400 Gbit/s for each accelerator.
    """

    memory_gib: float = 80.0
    usable: float = 0.92
    """Share of the memory that tensors may fill; fragments, kernels and buffers take the rest."""
    peak_tflop_s: float = 989.0
    """In the precision of the plan: dense bfloat16 here."""
    mfu: tuple[float, float] = (0.2, 0.45)
    """Shares of the peak that the work may reach, operations done again included."""
    node_devices: int = 8
    """Accelerators that are joined by the faster way."""
    node_gb_s: float = 450.0
    """Each way, of one accelerator to those of its node."""
    network_gb_s: float = 50.0
    """Each way, of one accelerator to those of other nodes."""

    def __post_init__(self) -> None:
        """Refuse machines that compute nothing."""
        for name in (f.name for f in fields(self) if f.name != "mfu"):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected more than 0")
        low, high = self.mfu
        if not 0 < low <= high <= 1:
            raise InvalidConfig(f"mfu is {self.mfu}; expected two shares above 0, the lower first")

    @property
    def usable_bytes(self) -> float:
        """What tensors may fill."""
        return self.memory_gib * GIB * self.usable

    def exchange_s(self, sent: float, *, span: int) -> float:
        """Return how long it takes to send bytes among processes that span so many."""
        return sent / (self.node_gb_s if span <= self.node_devices else self.network_gb_s) / 1e9
