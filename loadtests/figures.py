"""Figures: what a run came to, reckoned from its tally."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests.tally import Tally

HITS = ("exact", "semantic")


@dataclass(frozen=True)
class Distribution:
    """Latencies in milliseconds; percentiles are values that occurred (nearest rank)."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, took_ms: Sequence[float]) -> Distribution:
        """Of at least one latency."""
        ascending = sorted(took_ms)
        p50, p95, p99 = (ascending[math.ceil(len(ascending) * percent / 100) - 1] for percent in (50, 95, 99))
        return cls(len(ascending), sum(ascending) / len(ascending), p50, p95, p99, ascending[-1])


@dataclass(frozen=True)
class Figures:
    """Requests by what became of them, latencies of the answered ones, texts by kind."""

    seconds: float
    answered: int
    shed: int
    failed: int
    unsent: int
    latency: Distribution | None
    parts: Mapping[str, Mapping[str, Distribution]]
    texts: Mapping[str, int]

    @classmethod
    def of(cls, tally: Tally, seconds: float) -> Figures:
        """Reckon them."""
        answered, shed, failed = (tally.of("request", outcome) for outcome in ("answered", "shed", "failed"))
        parts = {
            group: {name: Distribution.of(took) for name, took in names.items()}
            for group, names in tally.took_ms.items()
        }
        texts = {kind: tally.counts[f"{kind} texts"] for kind in ("fresh", "repeat", "paraphrase")}
        latency = Distribution.of(answered) if answered else None
        unsent = tally.counts["unsent"]
        return cls(seconds, len(answered), len(shed), len(failed), unsent, latency, parts, texts)

    @property
    def requests(self) -> int:
        """All of them; in an open loop also those that were due and that nobody was free to send."""
        return self.answered + self.shed + self.failed + self.unsent

    @property
    def error_share(self) -> float:
        """Failed or never sent; shed requests are counted by themselves."""
        return (self.failed + self.unsent) / self.requests if self.requests else 0.0

    @property
    def shed_share(self) -> float:
        """Refused with 429, which asks the caller to come back later."""
        return self.shed / self.requests if self.requests else 0.0

    @property
    def rps(self) -> float:
        """Answered requests a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    @property
    def hit_rate(self) -> float | None:
        """Share of the answers that came from the cache; None when no answer shows that there is one."""
        cache = {name: found.count for name, found in self.parts.get("cache", {}).items()}
        if not any(cache.get(name) for name in (*HITS, "miss")):
            return None
        return sum(cache.get(name, 0) for name in HITS) / sum(cache.values())

    def text_share(self, kind: str) -> float:
        """What part of the texts was of this kind."""
        return self.texts[kind] / (sum(self.texts.values()) or 1)
