"""Arrivals: an open loop's timetable, which never waits for answers."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

from loadtests.profile import Profile


@dataclass
class Arrivals:
    """Requests are due as the profile says from `start`, in seconds of one monotonic clock; each is taken once."""

    start: float
    profile: Profile
    taken: int = field(default=0, init=False)

    def due(self, number: int) -> float:
        """When request `number`, counted from 0, is due; infinity after the profile's end."""
        return self.start + self.profile.moment(number)

    def take(self) -> float:
        """Take the next request; return when it is due, infinity when there is none."""
        due = self.due(self.taken)
        if math.isfinite(due):
            self.taken += 1
        return due

    def missed(self, now: float) -> int:
        """How many requests were due by `now` and nobody has taken: every customer was still waiting."""
        numbers = range(self.taken, 1 << 40)
        return bisect.bisect_right(numbers, now, key=self.due)
