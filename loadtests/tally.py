"""The tally: every latency of a run, by what the request was and by what became of it."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any


class Tally:
    """Milliseconds by group and name, such as "cache" and "exact". All of them: Locust keeps rounded ones only."""

    def __init__(self) -> None:
        self.took_ms: dict[str, dict[str, array[float]]] = defaultdict(lambda: defaultdict(lambda: array("d")))
        self.counts: Counter[str] = Counter()

    def add(self, group: str, name: str, took_ms: float) -> None:
        """Note one latency."""
        self.took_ms[group][name].append(took_ms)

    def of(self, group: str, name: str) -> Sequence[float]:
        """The latencies of one name."""
        return self.took_ms.get(group, {}).get(name, ())

    def take(self) -> dict[str, Any]:
        """Return everything in plain types and begin anew: what a worker reports to its master."""
        took_ms = {group: {name: list(took) for name, took in names.items()} for group, names in self.took_ms.items()}
        report = {"took_ms": took_ms, "counts": dict(self.counts)}
        self.took_ms.clear()
        self.counts.clear()
        return report

    def merge(self, report: Mapping[str, Any]) -> None:
        """Add what a worker has reported."""
        for group, names in report["took_ms"].items():
            for name, took in names.items():
                self.took_ms[group][name].extend(took)
        self.counts.update(report["counts"])
