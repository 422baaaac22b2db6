"""Simulation of the audited bound on made-up traffic: what it serves, and how often it is wrong about it.

`python -m tests.gateway.cache.simulation [--streams 1000] [--requests 12000]` prints the table of docs/decisions.md.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.cache.bound import Decision, audit_rate, decide, is_full
from gateway.cache.counters import Counters, Generations
from gateway.cache.plan import Plan

BLOCK = 50  # requests that share one look at the counters
MARKS = (2_000, 5_000, 12_000)
JUDGED_FROM = 1_000  # hits before the observed rate means anything

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """How much of the requests each bin of the score gets, best first, and how often its neighbour's label is wrong."""

    coverage: Floats
    rates: Floats

    @property
    def region_rates(self) -> Floats:
        """The rate of every region: bins 0 to i together."""
        running: Floats = np.cumsum(self.coverage * self.rates) / np.cumsum(self.coverage)
        return running

    def plan(self) -> Plan:
        """Return the plan with the start threshold that a large replay would find."""
        thresholds = tuple(float(1 - edge) for edge in np.cumsum(self.coverage))
        good = np.flatnonzero(self.region_rates <= Plan().delta / 2)
        return Plan(start=thresholds[max(good[-1] - 1, 0)] if len(good) else None, thresholds=thresholds)

    def best(self, delta: float) -> float:
        """Return the coverage of the largest region that may be served."""
        return float(np.cumsum(self.coverage)[self.region_rates <= delta].max(initial=0.0))


@dataclass(frozen=True)
class Outcome:
    """What happened in one stream."""

    regions: tuple[float, ...]  # coverage at each of MARKS
    hits: int
    audits: int
    bad_region: bool  # V: one whose true rate exceeds delta was served
    over: bool  # O: more than delta of the hits so far were wrong, at any time after JUDGED_FROM hits


def curves() -> dict[str, Traffic]:
    """Return the six made-up kinds of traffic."""
    coverage = np.random.default_rng(0).uniform(0.02, 0.06, 24)
    coverage /= coverage.sum()
    x = np.cumsum(coverage) - coverage / 2
    edges = np.cumsum(coverage)
    exactly = np.diff(np.append(0.006 * edges[3], 0.0101 * edges[4:])) / coverage[4:]
    rates = {
        "logistic": 0.0008 + 0.25 / (1 + np.exp(-(x - 0.78) / 0.07)),
        "step": np.where(x < 0.4, 0.002, 0.15),
        "easy": np.where(x < 0.6, 0.001, 0.05),
        "flat": np.full(24, 0.0101),
        "bad top": np.select([x < 0.1, x < 0.5], [0.03, 0.003], 0.05),
        "knife edge": np.append([0.006] * 4, exactly),
    }
    return {name: Traffic(coverage, rate) for name, rate in rates.items()}


def run(traffic: Traffic, plan: Plan, requests: int, rng: np.random.Generator) -> Outcome:
    """Send one stream through the bound."""
    bins = np.searchsorted(np.cumsum(traffic.coverage)[:-1], rng.random(requests), side="right")
    wrong = rng.random(requests) < traffic.rates[bins]
    coins = rng.random(requests)
    generations = Generations.empty(len(traffic.coverage))
    decision = decide(generations.window, plan)
    hits, audited, regions, bad_region = np.zeros(requests, bool), 0, [], False
    served_hits = 0
    for start in range(0, requests, BLOCK):
        block = slice(start, start + BLOCK)
        hit = bins[block] < decision.bins
        drawn = coins[block] < audit_rate(decision.served_threshold, served_hits, plan)
        hits[block], audited = hit, audited + int((hit & drawn).sum())
        served_hits = 0 if decision.served_threshold is None else served_hits + int(hit.sum())
        generations = generations.plus(_counted(bins[block][drawn], wrong[block][drawn], len(plan.thresholds)))
        decision = decide(generations.window, plan)
        bad_region |= _is_bad(decision, traffic, plan)
        if is_full(generations.current, decision, plan):
            generations = generations.rotated()
        if start + BLOCK in MARKS:
            regions.append(float(traffic.coverage[: decision.bins].sum()))
    return Outcome(tuple(regions), int(hits.sum()), audited, bad_region, _over(hits, wrong, plan.delta))


def _counted(bins: NDArray[np.intp], wrong: NDArray[np.bool_], count: int) -> Counters:
    return Counters(
        tuple(np.bincount(bins, minlength=count).tolist()), tuple(np.bincount(bins[wrong], minlength=count).tolist())
    )


def _is_bad(decision: Decision, traffic: Traffic, plan: Plan) -> bool:
    return decision.bins > 0 and bool(traffic.region_rates[decision.bins - 1] > plan.delta + 1e-9)


def _over(hits: NDArray[np.bool_], wrong: NDArray[np.bool_], delta: float) -> bool:
    false = np.cumsum(wrong[hits])
    so_far = np.arange(1, len(false) + 1)
    return bool((false > delta * so_far)[JUDGED_FROM - 1 :].any())


def summary(name: str, traffic: Traffic, outcomes: Iterable[Outcome]) -> str:
    """Return one row of the table."""
    each = list(outcomes)
    regions = " / ".join(f"{mean:.2f}" for mean in np.mean([outcome.regions for outcome in each], axis=0))
    audits, hits = (int(np.mean(counts)) for counts in zip(*((o.audits, o.hits) for o in each), strict=True))
    bad, over = np.mean([outcome.bad_region for outcome in each]), np.mean([outcome.over for outcome in each])
    return f"| {name} ({traffic.best(0.01):.2f}) | {regions} | {audits:,} / {hits:,} | {bad:.3f} / {over:.3f} |\n"


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=12_000)
    arguments = parser.parse_args()
    write(f"{arguments.streams:,} streams of {arguments.requests:,} requests\n")
    write("| curve (best region) | region served at 2k / 5k / 12k | audits / hits | V / O |\n|---|---|---|---|\n")
    for name, traffic in curves().items():
        rng = np.random.default_rng(0)
        outcomes = (run(traffic, traffic.plan(), arguments.requests, rng) for _ in range(arguments.streams))
        write(summary(name, traffic, outcomes))


if __name__ == "__main__":
    main()
