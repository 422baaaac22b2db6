"""Figures from a tally, and a tally from the reports of workers."""

import json

from loadtests.figures import Distribution, Figures
from loadtests.tally import Tally


def tally(answered: int, shed: int = 0, failed: int = 0, **cache: int) -> Tally:
    """So many requests of each outcome, and so many answers of each x-cache."""
    made = Tally()
    for outcome, count in (("answered", answered), ("shed", shed), ("failed", failed)):
        for number in range(count):
            made.add("request", outcome, float(number + 1))
    for name, count in cache.items():
        for _ in range(count):
            made.add("cache", name, 1.0)
    return made


def test_percentiles_are_values_that_occurred() -> None:
    assert Distribution.of([float(n) for n in range(100, 0, -1)]) == Distribution(100, 50.5, 50, 95, 99, 100)
    assert Distribution.of([3.0]) == Distribution(1, 3, 3, 3, 3, 3)


def test_only_answered_requests_have_a_latency_that_counts() -> None:
    figures = Figures.of(tally(10, shed=1000, failed=500), seconds=5)
    assert figures.latency
    assert figures.latency.max == 10
    assert figures.rps == 2


def test_shares_are_of_everything_that_was_due() -> None:
    counted = tally(70, shed=20, failed=5)
    counted.counts["unsent"] = 5
    figures = Figures.of(counted, seconds=1)
    assert figures.requests == 100
    assert figures.error_share == 0.1
    assert figures.shed_share == 0.2


def test_a_hit_rate_is_of_all_answers_and_needs_a_cache() -> None:
    assert Figures.of(tally(10, exact=2, semantic=3, miss=4, bypass=1), 1).hit_rate == 0.5
    assert Figures.of(tally(10, miss=10), 1).hit_rate == 0
    assert Figures.of(tally(10, bypass=10), 1).hit_rate is None
    assert Figures.of(tally(0), 1).hit_rate is None


def test_a_tally_comes_whole_through_json_and_begins_anew() -> None:
    one, two = tally(3, exact=1), tally(4, failed=2)
    one.counts["fresh texts"], two.counts["fresh texts"] = 5, 6
    whole = Tally()
    for part in (one, two):
        whole.merge(json.loads(json.dumps(part.take())))
        assert not part.took_ms
        assert not part.counts
    figures = Figures.of(whole, 1)
    assert (figures.answered, figures.failed, figures.texts["fresh"]) == (7, 2, 11)
    assert figures.text_share("fresh") == 1


def test_nothing_at_all_has_no_latency_and_no_division_by_zero() -> None:
    figures = Figures.of(Tally(), 0)
    assert figures.latency is None
    assert (figures.rps, figures.error_share, figures.text_share("fresh")) == (0.0, 0.0, 0.0)
