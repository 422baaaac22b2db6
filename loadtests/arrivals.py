"""Arrivals: an open loop's timetable, which never waits for answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arrivals:
    """Requests are due at a constant rate from `start`, in seconds of one monotonic clock."""

    start: float
    per_s: float

    def __post_init__(self) -> None:
        if not self.per_s > 0:
            raise ValueError("the arrival rate must be more than 0 a second")

    def due(self, number: int) -> float:
        """When request `number`, counted from 0, is due. A product and no sum: rounding must not pile up."""
        return self.start + number / self.per_s

    def latency_ms(self, number: int, answered: float) -> float:
        """From when it was due, not from when it was sent: a late sender's wait is part of it."""
        return (answered - self.due(number)) * 1000
