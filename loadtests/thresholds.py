"""Thresholds: the figures that a run must reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.figures import Figures


@dataclass(frozen=True)
class Thresholds:
    """Shares are parts of 1; None is not checked."""

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_error_share: float = 0.0
    max_shed_share: float = 0.0
    min_hit_rate: float | None = None
    min_rps: float | None = None

    def broken_by(self, figures: Figures) -> Iterator[str]:
        """Yield one sentence for each threshold that is missed."""
        if figures.latency is None:
            yield "no request was answered"
        else:
            for name, limit_ms in (("p50", self.p50_ms), ("p95", self.p95_ms), ("p99", self.p99_ms)):
                took_ms = getattr(figures.latency, name)
                if limit_ms is not None and took_ms > limit_ms:
                    yield f"{name} is {took_ms:.1f} ms, allowed are {limit_ms:g} ms"
        if figures.error_share > self.max_error_share:
            unsent = f" ({figures.unsent} were due while every user waited for an answer)" if figures.unsent else ""
            yield f"{figures.error_share:.2%} of the requests failed{unsent}, allowed are {self.max_error_share:.2%}"
        if figures.shed_share > self.max_shed_share:
            yield f"{figures.shed_share:.2%} of the requests were shed (429), allowed are {self.max_shed_share:.2%}"
        if self.min_rps is not None and figures.rps < self.min_rps:
            yield f"{figures.rps:.1f} requests a second were answered, wanted are at least {self.min_rps:g}"
        yield from self._hit_rate(figures.hit_rate)

    def _hit_rate(self, hit_rate: float | None) -> Iterator[str]:
        if self.min_hit_rate is None:
            return
        wanted = f"wanted are at least {self.min_hit_rate:.2%} hits"
        if hit_rate is None:
            yield f"there is no cache (no answer had x-cache exact, semantic or miss), {wanted}"
        elif hit_rate < self.min_hit_rate:
            yield f"{hit_rate:.2%} of the answers came from the cache, {wanted}"
