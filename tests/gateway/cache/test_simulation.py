"""The promise on made-up traffic: small streams of the simulation, and some that a wrong chain or memory fails on."""

import random

import numpy as np

from gateway.cache.bound import Decision, decide, is_full, learned, proved, toss
from gateway.cache.counters import Counters, Generations
from gateway.cache.meter import most_false_hits
from gateway.cache.plan import Plan
from tests.gateway.cache.simulation import Traffic, curves, run, summary


def test_small_streams() -> None:
    rng = np.random.default_rng(0)
    rows = {}
    for name, traffic in curves().items():
        outcomes = [run(traffic, traffic.plan(), 12_000, rng) for _ in range(3)]
        assert sum(outcome.bad_region for outcome in outcomes) <= 1, name
        assert not any(outcome.over for outcome in outcomes), name
        assert all(outcome.audits < 0.6 * outcome.hits for outcome in outcomes if outcome.hits > 2_000), name
        rows[name] = float(np.mean([outcome.regions[-1] for outcome in outcomes]))
        assert name in summary(name, traffic, outcomes)
    assert rows["logistic"] >= 0.55
    assert rows["step"] >= 0.33
    assert rows["easy"] >= 0.55
    assert max(rows["flat"], rows["bad top"], rows["knife edge"]) < 0.05


def test_a_bad_region_inherits_nothing_across_one_that_failed() -> None:
    # The first bin is always right and soon proved, the second is nearly always wrong, all three together exactly
    # delta. So the third region may spend its own sixth of alpha only. A chain that does not start again at the
    # second spends five sixths, and serves it in a quarter of the streams.
    plan = Plan(start=3.0, delta=0.1, alpha=0.9, thresholds=(3.0, 2.0, 1.0))
    traffic = Traffic(np.array([0.05, 0.02, 0.93]), np.array([0.0, 0.9, (0.1 - 0.018) / 0.93]))
    rng, streams, served = np.random.default_rng(0), 400, 0
    for _ in range(streams):
        served += _ever_serves_all(traffic, plan, rng)
    assert served / streams <= plan.alpha / 6


def _ever_serves_all(traffic: Traffic, plan: Plan, rng: np.random.Generator) -> bool:
    n, k = np.zeros(3, int), np.zeros(3, int)
    for _ in range(150):
        drawn = rng.multinomial(20, traffic.coverage)
        n, k = n + drawn, k + rng.binomial(drawn, traffic.rates)
        if proved(Counters(tuple(n.tolist()), tuple(k.tolist())), plan) == 3:
            return True
    return False


class Cache:
    """One version's cache, request by request, as the gateway drives it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.coin = plan, random.Random(0)
        self.generations = Generations.empty(len(plan.thresholds))
        self.decision: Decision = decide(self.generations.window, plan)
        self.served_hits = self.hits = self.false_hits = self.looks = 0
        self.meter = 0.0

    def request(self, score: float, label: str, *, wrong: bool) -> None:
        """Answer one request."""
        one = toss(label, score, self.decision, self.served_hits, self.coin.random(), self.plan)
        self.hits += one.hit
        self.served_hits += one.hit
        self.false_hits += one.hit and wrong
        if one.drawn or not one.hit:  # the model answers
            added = learned(one, "another" if wrong else label, self.plan)
            self.generations = self.generations.plus(added.counters)
            self.meter += added.meter

    def look(self) -> None:
        """Decide anew, as happens once a second."""
        self.decision = decide(self.generations.window, self.plan)
        if self.decision.served_threshold is None:
            self.served_hits = 0
        if is_full(self.generations.current, self.decision, self.plan):
            self.generations = self.generations.rotated()

    def serve(self, requests: int, rate: float, *, bad_class: float = 0.0) -> None:
        """Answer requests that all score 1.8, wrong at a rate, and one in fifty of a class with a rate of its own."""
        for i in range(requests):
            bad = bad_class > 0 and i % 50 == 0
            self.request(1.8, "bad" if bad else "good", wrong=self.coin.random() < (bad_class if bad else rate))
            if i % 50 == 49:
                self.look()


def test_it_forgets_and_closes_soon_when_the_traffic_goes_bad() -> None:
    cache = Cache(Plan(start=1.8, window_served=500))
    cache.serve(30_000, 0.001)
    good = cache.hits
    assert good > 20_000
    cache.serve(8_000, 0.02)
    assert cache.decision.served_threshold is None
    assert cache.hits - good < 5_000
    cache.serve(12_000, 0.0)
    assert cache.decision.served_threshold is not None


def test_the_meter_knows_of_more_false_hits_than_were_served() -> None:
    cache = Cache(Plan(start=1.8))
    cache.serve(30_000, 0.005)
    assert 80 < cache.false_hits < most_false_hits(cache.meter, cache.plan.a_min) < 5 * cache.false_hits


def test_a_bad_class_is_closed_and_the_rest_is_served() -> None:
    cache = Cache(Plan(start=1.8))
    cache.serve(10_000, 0.001, bad_class=0.3)
    assert cache.decision.closed_classes == {"bad"}
    assert cache.decision.served_threshold is not None
    before = cache.false_hits
    cache.serve(5_000, 0.0, bad_class=1.0)
    assert cache.false_hits == before
