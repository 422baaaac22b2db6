"""A day of traffic over model servers: how many replicas the chart's autoscaler keeps, and how long callers wait.

python docs/autoscaling_simulation.py          prints the table of docs/autoscaling.md; the same whenever it runs
"""

import math
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).parents[1] / "deploy" / "helm" / "retort" / "values.yaml"
DAY_S = 86_400
SYNC_S = 15  # the HPA's and the scrape's interval
SAMPLE_S = 5  # between seconds whose latencies are kept
TOLERANCE = 0.1  # the HPA does nothing within it
BATCHES = 3  # RETORT_GATEWAY_BATCHES_IN_FLIGHT
QUANTILES = (0.25, 0.75, 0.95, 0.985, 0.995)  # where a second's latencies are sampled,
WEIGHTS = (0.5, 0.4, 0.08, 0.01, 0.01)  # and the share of its calls that each stands for
Decide = Callable[["Load", int, int], int]  # what was seen, replicas, those that answer -> replicas


@dataclass(frozen=True)
class Replica:
    """A model server with its share of the gateways, as measured (docs/decisions.md, section 5).

    1, 32 and 64 calls in flight gave 448, 1,733 and 1,817 answers a second: n calls give per_s * n / (n + company).
    """

    per_s: float = 1909.0
    company: float = 3.26
    instances: int = 2
    start_s: int = 45  # from being wanted to answering, on a node that is there


@dataclass(frozen=True)
class Scaler:
    """The chart's values; what its templates fix is in `autoscale`."""

    minimum: int
    maximum: int
    inflight: float
    queue_ratio: float
    gateway_inflight: float
    down_s: int
    scrapes: int = 1  # that are averaged

    @classmethod
    def of_the_chart(cls, values: Any) -> "Scaler":
        """Read values.yaml's `autoscaling`."""
        own = values["modelServer"]
        limits = own["minReplicas"], own["maxReplicas"], own["inflight"], own["queueRatio"]
        return cls(*limits, values["gateway"]["inflight"], values["scaleDownSeconds"])


@dataclass(frozen=True)
class Load:
    """What one second looks like from outside: calls in flight in all gateways, and how long its calls take."""

    inflight: float
    latencies_s: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """A day: replica hours, the most replicas, changes of their number, calls that came to none, latencies of all."""

    replica_hours: float
    most: int
    changes: int
    held: float
    p50_s: float
    p99_s: float
    p999_s: float


def diurnal(peak_per_s: float, trough: float = 0.1, seed: int = 7) -> list[float]:
    """Calls a second over a day: a trough at 4 h, a peak in the afternoon, noise, and a rush of 15 minutes at 10 h."""
    source = random.Random(seed)  # noqa: S311  # noise, no secret
    minutes: list[float] = [source.gauss(1.0, 0.05) for _ in range(DAY_S // 60)]

    def rate(second: int) -> float:
        wave: float = ((1 - math.cos(2 * math.pi * (second / DAY_S - 4 / 24))) / 2) ** 1.5
        rush = 1.3 if 36_000 <= second < 36_900 else 1.0
        return peak_per_s * min(1.0, (trough + (1 - trough) * wave) * rush * minutes[second // 60])

    return [rate(second) for second in range(DAY_S)]


def office_hours(peak_per_s: float) -> list[float]:
    """As `diurnal`, with nobody there from 20 h to 7 h."""
    return [rate if 7 <= second / 3600 < 20 else 0.0 for second, rate in enumerate(diurnal(peak_per_s))]


def observe(rate: float, backlog: float, ready: int, replica: Replica) -> Load:
    """What the replicas make of a second's calls, behind what was left over from before."""
    spare_per_s = max(replica.per_s - rate / ready, 0.02 * replica.per_s)
    alone_s, mean_s = replica.company / replica.per_s, replica.company / spare_per_s
    left_s = backlog / (ready * replica.per_s)
    # The wait beyond that of a call alone is taken to be exponential, which is longer than what was measured.
    latencies = tuple(alone_s + left_s - (mean_s - alone_s) * math.log(1 - q) for q in QUANTILES)
    return Load(rate * mean_s + backlog, latencies)


def queue_ratio(inflight: float, ready: int, scaler: Scaler, replica: Replica) -> float:
    """Time in Triton's queue for each second of computing: gateways send it few batches at once and keep the rest."""
    gateways = math.ceil(inflight / scaler.gateway_inflight)
    return max(0.0, min(BATCHES * gateways, inflight) / (ready * replica.instances) - 1) if ready else 0.0


def wanted(load: Load, replicas: int, ready: int, scaler: Scaler, replica: Replica) -> int:
    """The HPA's arithmetic for figures that are shared out over the replicas; the larger of the two counts."""
    ratios = queue_ratio(load.inflight, ready, scaler, replica) * ready
    counts = []
    for figure, target in ((load.inflight, scaler.inflight), (ratios, scaler.queue_ratio)):
        within = replicas and abs(figure / (target * replicas) - 1) <= TOLERANCE
        counts.append(replicas if within else math.ceil(figure / target))
    return min(scaler.maximum, max(scaler.minimum, *counts))


def autoscale(scaler: Scaler, replica: Replica, seed: int = 7) -> Decide:
    """Return what decides every SYNC_S: up at once, double or two more in 30 s; down a fifth or one a minute.

    It sees the calls in flight at one moment, so they scatter; down counts only what was not wanted for `down_s`.
    """
    source = random.Random(seed)  # noqa: S311  # noise, no secret
    recent: deque[int] = deque(maxlen=scaler.down_s // SYNC_S + 1)
    counts: deque[int] = deque(maxlen=60 // SYNC_S)
    scraped: deque[float] = deque(maxlen=scaler.scrapes)

    def decide(load: Load, replicas: int, ready: int) -> int:
        scraped.append(max(0.0, source.gauss(load.inflight, math.sqrt(load.inflight))))
        seen = sum(scraped) / len(scraped)
        recent.append(wanted(replace(load, inflight=seen), replicas, ready, scaler, replica))
        counts.append(replicas)
        before = min(list(counts)[-30 // SYNC_S :])
        highest, lowest = max(before * 2, before + 2), min(max(counts) - 1, math.floor(max(counts) * 0.8))
        if recent[-1] > replicas:
            return min(recent[-1], highest)
        return min(replicas, max(*recent, lowest))

    return decide


def fixed(replicas: int) -> Decide:
    """Return what never changes its mind."""
    return lambda *_: replicas


def live(rates: Sequence[float], start: int, decide: Decide, replica: Replica) -> Outcome:
    """Live through the day. While there is no replica, the gateways hold the calls."""
    starting: list[int] = []
    replicas = ready = most = start
    backlog, held, seconds, changes = 0.0, 0.0, 0, 0
    samples: list[tuple[float, float]] = []
    for second, rate in enumerate(rates):
        ready += starting.count(second)
        starting = [at for at in starting if at > second]
        if ready:
            load = observe(rate, backlog, ready, replica)
            if second % SAMPLE_S == 0:
                samples += [(latency, rate * weight) for latency, weight in zip(load.latencies_s, WEIGHTS, strict=True)]
            backlog = max(0.0, backlog + rate - ready * replica.per_s)
        else:
            backlog += rate
            held += rate
            load = Load(backlog, ())
            samples.append((min(starting, default=second + replica.start_s) - second, rate / SAMPLE_S))
        if second % SYNC_S == 0:
            target = decide(load, replicas, ready)
            starting += [second + replica.start_s] * (target - replicas)
            if target < replicas:
                starting, ready = starting[: max(0, target - ready)], min(ready, target)
            changes += target != replicas
            replicas = target
        seconds += replicas
        most = max(most, replicas)
    return Outcome(seconds / 3600, most, changes, held, *percentiles(samples, (0.5, 0.99, 0.999)))


def percentiles(samples: list[tuple[float, float]], shares: Sequence[float]) -> Iterator[float]:
    """Yield the weighted percentiles of (value, weight)."""
    samples = sorted(samples)
    total = sum(weight for _, weight in samples)
    for share in shares:
        below = 0.0
        for value, weight in samples:
            below += weight
            if below >= share * total:
                yield value
                break


def rows(peak_per_s: float = 10_000.0) -> Iterator[tuple[str, Outcome]]:
    """Yield the table: a fixed capacity for the peak, the chart's autoscaler, and its neighbours."""
    scaler, replica = Scaler.of_the_chart(yaml.safe_load(VALUES.read_text())["autoscaling"]), Replica()
    peak = math.ceil(peak_per_s / replica.per_s / 0.7)
    day, office = diurnal(peak_per_s), office_hours(peak_per_s)

    def scaled(rates: Sequence[float], changed: Scaler = scaler) -> Outcome:
        return live(rates, max(1, changed.minimum), autoscale(changed, replica), replica)

    yield f"{peak} replicas, fixed", live(day, peak, fixed(peak), replica)
    yield "autoscaled, as the chart has it", scaled(day)
    yield "half as many in flight a replica", scaled(day, replace(scaler, inflight=scaler.inflight / 2))
    yield "twice as many in flight a replica", scaled(day, replace(scaler, inflight=scaler.inflight * 2))
    yield "fewer after five minutes", scaled(day, replace(scaler, down_s=300))
    yield "fewer after one minute", scaled(day, replace(scaler, down_s=60))
    yield "calls in flight averaged over a minute", scaled(day, replace(scaler, scrapes=60 // SYNC_S))
    yield f"office hours: {peak} replicas, fixed", live(office, peak, fixed(peak), replica)
    yield "office hours: autoscaled, at least one", scaled(office)
    yield "office hours: autoscaled, down to none", scaled(office, replace(scaler, minimum=0))


def table(found: Iterable[tuple[str, Outcome]]) -> str:
    """Return the rows as Markdown; savings are against the fixed capacity above them."""
    lines = [
        "| | replica hours | saved | most | changes | held | p50 | p99 | p99.9 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    reference = 1.0
    for name, day in found:
        if name.endswith("fixed"):
            reference = day.replica_hours
        saved = 1 - day.replica_hours / reference
        times = " | ".join(f"{value * 1e3:.1f} ms" for value in (day.p50_s, day.p99_s, day.p999_s))
        hours = f"{day.replica_hours:.0f} | {saved:.0%} | {day.most} | {day.changes} | {day.held:,.0f}"
        lines.append(f"| {name} | {hours} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table(rows()) + "\n")
