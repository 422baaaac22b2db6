"""Rate limits: a token bucket a key, as the Generic Cell Rate Algorithm; in this process, or shared."""

import time
from dataclasses import dataclass
from typing import Protocol

from gateway.caller import Caller, Rate
from gateway.errors import RateLimitedError
from gateway.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait_s` 0: the request may pass. `full_at_s`: when the bucket would be full again, all that is kept of it."""

    wait_s: float
    full_at_s: float


def decide(now_s: float, full_at_s: float, rate: Rate) -> Decision:
    """Let one request into the bucket or not; a refused request takes nothing out of it.

    A request pushes `full_at_s` on by 1 / rate; it may pass while that lies at most burst / rate ahead. No bucket is
    emptier than empty: what was taken at a lower rate, before the keys file changed, holds nobody up for longer.
    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """
    full_at_s = min(full_at_s, now_s + rate.burst / rate.per_s)
    pushed_s = max(now_s, full_at_s) + 1 / rate.per_s
    wait_s = pushed_s - now_s - rate.burst / rate.per_s
    # A nanosecond of rounding must not refuse the last request of a burst.
    return Decision(wait_s, full_at_s) if wait_s > 1e-9 else Decision(0.0, pushed_s)


class SharedBuckets(Protocol):
    """Buckets that several processes share."""

    async def take(self, name: str, rate: Rate) -> float | None:
        """Return for how many seconds a request must wait, 0 when it may pass, None when nobody knows now."""


class RateLimiter:
    """Counts the requests of each key, all of its doors together, in the first of the buckets that can tell."""

    def __init__(self, metrics: Metrics, *shared: SharedBuckets) -> None:
        self._shared, self._shed = shared, metrics.shed.labels("rate")
        self._full_at_s: dict[str, float] = {}  # as many as there are names in the keys file

    async def admit(self, caller: Caller) -> None:
        """Raise RateLimitedError when the caller's bucket is empty."""
        if (rate := caller.rate) is None:
            return
        for buckets in self._shared:
            if (wait_s := await buckets.take(caller.name, rate)) is not None:
                break
        else:
            wait_s = self._take(caller.name, rate)
        if wait_s > 0:
            self._shed.inc()
            raise RateLimitedError(
                f"the key {caller.name!r} may send {rate.per_s:g} requests a second and {rate.burst} at once",
                retry_after_s=wait_s,
            )

    def _take(self, name: str, rate: Rate) -> float:
        decision = decide(time.monotonic(), self._full_at_s.get(name, 0.0), rate)
        self._full_at_s[name] = decision.full_at_s
        return decision.wait_s
