"""The profile: how much load at which moment of a run, as straight lines between points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Shape = Literal["constant", "ramp", "spike"]
SHAPES: tuple[Shape, ...] = ("constant", "ramp", "spike")


@dataclass(frozen=True)
class Profile:
    """Levels (users, or requests a second) at moments in seconds; ascending moments, the first one 0."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, shape: Shape, level: float, seconds: float, spike_factor: float) -> Profile:
        """`level` throughout; rising to it from 0; or `spike_factor` times of it in the middle third."""
        if not level > 0:
            raise ValueError("the level of load (users, or requests a second) must be more than 0")
        if shape == "ramp":
            return cls(((0, 0), (seconds, level)))
        if shape == "spike":
            third, top = seconds / 3, level * spike_factor
            return cls(
                ((0, level), (third, level), (third, top), (2 * third, top), (2 * third, level), (seconds, level))
            )
        return cls(((0, level), (seconds, level)))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.points[-1][0]

    @property
    def requests(self) -> float:
        """How many requests come to be due, where the level is a rate."""
        return sum((low + high) / 2 * (end - start) for (start, low), (end, high) in self._lines())

    def level(self, moment: float) -> float:
        """The level at `moment`; where it jumps, the later one; 0 after the end."""
        found = 0.0
        for (start, low), (end, high) in self._lines():
            if start <= moment <= end:
                found = low + (high - low) * (moment - start) / (end - start) if math.isfinite(end) else low
        return found

    def moment(self, amount: float) -> float:
        """When the area under the lines reaches `amount` (the n-th request is due); infinity if it never does."""
        for (start, low), (end, high) in self._lines():
            area = (low + high) / 2 * (end - start)
            if amount <= area and area > 0:
                return start + _crossing(low, (high - low) / (end - start) if low != high else 0.0, amount)
            amount -= area
        return math.inf

    def _lines(self) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
        """The lines that take time; a jump takes none."""
        for first, second in zip(self.points, self.points[1:], strict=False):
            if second[0] > first[0]:
                yield first, second


def _crossing(low: float, slope: float, amount: float) -> float:
    """Solve low x + slope x^2 / 2 = amount for the smallest x >= 0; the form that does not cancel near slope 0."""
    if not amount:
        return 0.0
    return 2 * amount / (low + math.sqrt(max(0.0, low * low + 2 * slope * amount)))
