"""A load: what one driver measured while it kept one server busy, and what several of them say together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

SPREAD_WORTH_A_WORD = 0.2


@dataclass(frozen=True)
class Load:
    """One measurement; `requests` were answered well, `errors` were not or not at all; latencies are of all."""

    driver: str
    command: str
    connections: int
    seconds: float
    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def rps(self) -> float:
        """Return the well answered requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Row:
    """The medians of one thing's loads, round by round; `ceiling_share` is of the bare runtime's rate."""

    name: str
    driver: str
    command: str
    connections: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int
    rps_by_round: list[float]
    ceiling_share: float | None = None

    @property
    def spread(self) -> float:
        """Return how far the rounds lie apart, as a share of their median."""
        return (max(self.rps_by_round) - min(self.rps_by_round)) / self.rps if self.rps else 0.0


def summarise(name: str, loads: Sequence[Load], ceiling_rps: float | None = None) -> Row:
    """Return the medians over rounds; errors add up."""
    rps = median(load.rps for load in loads)
    return Row(
        name=name,
        driver=loads[0].driver,
        command=loads[0].command,
        connections=loads[0].connections,
        rps=rps,
        p50_ms=median(load.p50_ms for load in loads),
        p95_ms=median(load.p95_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        errors=sum(load.errors for load in loads),
        rps_by_round=[load.rps for load in loads],
        ceiling_share=rps / ceiling_rps if ceiling_rps else None,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of the ascending `ordered` do not exceed; NaN of none."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def measured(
    driver: str, command: str, connections: int, seconds: float, latencies_ms: Sequence[float], errors: int
) -> Load:
    """Return the load whose well answered requests took `latencies_ms`."""
    ordered = sorted(latencies_ms)
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Load(driver, command, connections, seconds, len(ordered), errors, p50, p95, p99)


def doubts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence a row that should not be believed as it stands."""
    found = []
    for row in rows:
        where = f"{row.name} at {row.connections} connections"
        if row.errors:
            found.append(f"{where}: {row.errors} requests failed")
        if row.spread > SPREAD_WORTH_A_WORD:
            found.append(f"{where}: rounds differ by {row.spread:.0%} of their median")
    return found
