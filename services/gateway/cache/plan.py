"""The plan of a version's evidence: what is fixed before the first draw, and may not change after it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.cache.score import FORMULA

THRESHOLDS = tuple(round(2.0 - 0.05 * step, 2) for step in range(16))  # 2.00, 1.95 ... 1.25
MOST_DELTA = 0.1  # the guard of the classes looks for five times as much


@dataclass(frozen=True, slots=True)
class Plan:
    """The promise (`delta` wrong, at confidence 1 - `alpha`) and how it is tested."""

    start: float | None = None  # the threshold that a replay found good; None: no replay, every region counts the same
    delta: float = 0.01
    alpha: float = 0.05
    thresholds: tuple[float, ...] = THRESHOLDS  # of the score; region i is every score from thresholds[i] up
    m0: int = 500  # hits that are all audited, before the share of audits falls
    a_min: float = 0.10  # and to what it falls
    window_served: int = 2_000  # draws in the served region that fill a generation
    window_draws: int = 10_000  # draws anywhere that do
    score: str = FORMULA

    def __post_init__(self) -> None:
        if list(self.thresholds) != sorted(set(self.thresholds), reverse=True):
            raise ValueError(f"the thresholds {self.thresholds} must fall")
        if self.start is not None and self.start not in self.thresholds:
            raise ValueError(f"the start threshold {self.start} is none of {self.thresholds}")
        if not (0 < self.delta <= MOST_DELTA and 0 < self.alpha < 1 and 0 < self.a_min <= 1):
            raise ValueError(f"{self} needs 0 < delta <= {MOST_DELTA}, 0 < alpha < 1 and 0 < a_min <= 1")

    @property
    def weights(self) -> tuple[float, ...]:
        """The share of alpha that each region may spend: half of it evenly, half on the start threshold."""
        even = 1 / len(self.thresholds)
        if self.start is None:
            return (even,) * len(self.thresholds)
        return tuple(even / 2 + (threshold == self.start) / 2 for threshold in self.thresholds)

    @property
    def name(self) -> str:
        """Under which evidence is kept, beside the version's digest: another plan starts without any."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def bin_of(self, score: float) -> int | None:
        """Return the smallest region that the score belongs to; None below all of them, and for nan."""
        return next((i for i, threshold in enumerate(self.thresholds) if threshold <= score), None)


def start_threshold(replayed: Iterable[tuple[float, bool]], plan: Plan | None = None) -> float | None:
    """Return where to expect the proof, from replayed (score, wrong): a guess that speeds it up and cannot break it.

    It is one step above the threshold of the largest region with at most delta / 2 wrong; None where there is none.
    """
    plan = plan or Plan()
    n, k = [0] * len(plan.thresholds), [0] * len(plan.thresholds)
    for score, wrong in replayed:
        if (first := plan.bin_of(score)) is not None:
            n[first] += 1
            k[first] += wrong
    good = [i for i in range(len(n)) if sum(n[: i + 1]) and sum(k[: i + 1]) <= plan.delta / 2 * sum(n[: i + 1])]
    return plan.thresholds[max(good[-1] - 1, 0)] if good else None
