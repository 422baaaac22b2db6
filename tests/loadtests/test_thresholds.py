"""Each threshold is broken by its figure alone, in a sentence."""

from dataclasses import replace

import pytest

from loadtests.figures import Distribution, Figures
from loadtests.thresholds import Thresholds

GOOD = Figures(
    seconds=10,
    answered=1000,
    shed=0,
    failed=0,
    unsent=0,
    latency=Distribution(1000, 5.0, 4.0, 9.0, 20.0, 31.0),
    parts={"cache": {"exact": Distribution(300, 1, 1, 1, 1, 1), "miss": Distribution(700, 5, 5, 5, 5, 5)}},
    texts={"fresh": 1000},
)
MET = Thresholds(4, 9, 20, 0, 0, 0.3, 100)


def test_figures_at_the_limit_break_nothing() -> None:
    assert list(MET.broken_by(GOOD)) == []


@pytest.mark.parametrize(
    ("limits", "figures", "sentence"),
    [
        (replace(MET, p50_ms=3.9), GOOD, "p50 is 4.0 ms, allowed are 3.9 ms"),
        (replace(MET, p95_ms=8.9), GOOD, "p95 is 9.0 ms, allowed are 8.9 ms"),
        (replace(MET, p99_ms=1), GOOD, "p99 is 20.0 ms, allowed are 1 ms"),
        (replace(MET, min_rps=101), GOOD, "100.0 requests a second were answered, wanted are at least 101"),
        (
            replace(MET, min_hit_rate=0.31),
            GOOD,
            "30.00% of the answers came from the cache, wanted are at least 31.00% hits",
        ),
        (MET, replace(GOOD, failed=1000), "50.00% of the requests failed, allowed are 0.00%"),
        (
            MET,
            replace(GOOD, unsent=1000),
            "50.00% of the requests failed (1000 were due while every user waited for an answer), allowed are 0.00%",
        ),
        (MET, replace(GOOD, shed=1000), "50.00% of the requests were shed (429), allowed are 0.00%"),
        (
            MET,
            replace(GOOD, parts={}),
            "there is no cache (no answer had x-cache exact, semantic or miss), wanted are at least 30.00% hits",
        ),
        (Thresholds(), replace(GOOD, answered=0, latency=None), "no request was answered"),
    ],
)
def test_one_figure_one_sentence(limits: Thresholds, figures: Figures, sentence: str) -> None:
    assert list(limits.broken_by(figures)) == [sentence]
