"""Counts of what a server did, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters, gauges and one histogram. Used in the event loop alone."""

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Start at nothing.

        Args:
            gauges: Name to what it means and how it is read.
        """
        self._gauges = gauges
        self._requests: Counter[tuple[str, int]] = Counter()
        self._counts: Counter[str] = Counter()
        self._seconds: Counter[float] = Counter()
        self._total_s = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests[route, status] += 1
        self._total_s += seconds
        for limit in _SECONDS:
            if seconds <= limit:
                self._seconds[limit] += 1

    def add(self, name: str, amount: int) -> None:
        """Add to a counter of :data:`COUNTED`."""
        self._counts[name] += amount

    def render(self) -> str:
        """Return all of it."""
        lines = _head("requests_total", "counter", "Answers by route and status.")
        lines += [
            f'loopwright_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        ]
        for name, meaning in COUNTED.items():
            lines += _head(name, "counter", meaning)
            lines.append(f"loopwright_{name} {self._counts[name]}")
        for name, (meaning, read) in self._gauges.items():
            lines += _head(name, "gauge", meaning)
            lines.append(f"loopwright_{name} {read():g}")
        total = sum(self._requests.values())
        lines += _head("request_seconds", "histogram", "From the request to the end of its answer.")
        lines += [
            f'loopwright_request_seconds_bucket{{le="{limit:g}"}} {self._seconds[limit]}'
            for limit in _SECONDS
        ]
        lines.append(f'loopwright_request_seconds_bucket{{le="+Inf"}} {total}')
        lines.append(f"loopwright_request_seconds_sum {self._total_s:.6f}")
        lines.append(f"loopwright_request_seconds_count {total}")
        return "\n".join(lines) + "\n"


COUNTED: Final = {
    "prompt_tokens_total": "Tokens read.",
    "completion_tokens_total": "Tokens written.",
    "pictures_total": "Pictures painted.",
    "cancelled_total": "Requests whose client went away before the answer was whole.",
}


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP loopwright_{name} {meaning}", f"# TYPE loopwright_{name} {kind}"]
