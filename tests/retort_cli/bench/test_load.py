"""Loads: percentiles, medians over rounds, and what to doubt."""

import math

import pytest

from retort_cli.bench.load import Load, doubts, measured, percentile, summarise


def load(rps: float, *, p50: float = 1.0, p99: float = 2.0, errors: int = 0) -> Load:
    return Load("driver", "command", 8, 2.0, round(rps * 2), errors, p50, 1.5, p99)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 50, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 50, 3.0),
        ([float(value) for value in range(1, 101)], 95, 95.0),
        ([float(value) for value in range(1, 101)], 99, 99.0),
        ([1.0, 2.0], 99, 2.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 50))


def test_latencies_need_no_order() -> None:
    found = measured("driver", "command", 4, 2.0, [3.0, 1.0, 2.0], errors=5)
    assert (found.p50_ms, found.p99_ms, found.requests, found.errors, found.rps) == (2.0, 3.0, 3, 5, 1.5)


def test_rounds_give_medians_and_errors_add_up() -> None:
    rounds = [load(100, p50=3, p99=9, errors=1), load(300, p50=1, p99=5), load(110, p50=2, p99=7, errors=2)]
    row = summarise("gateway", rounds, ceiling_rps=220)
    assert (row.rps, row.p50_ms, row.p99_ms, row.errors) == (110, 2, 7, 3)
    assert row.ceiling_share == 0.5
    assert row.rps_by_round == [100, 300, 110]
    assert row.spread == pytest.approx(200 / 110)
    assert summarise("gateway", rounds).ceiling_share is None


def test_failed_requests_and_rounds_that_differ_are_doubted() -> None:
    steady, wild, failing = [load(100), load(110)], [load(100), load(130)], [load(100), load(100, errors=3)]
    assert doubts([summarise("steady", steady)]) == []
    assert doubts([summarise("wild", wild)]) == ["wild at 8 connections: rounds differ by 26% of their median"]
    assert doubts([summarise("failing", failing)]) == ["failing at 8 connections: 3 requests failed"]
    assert doubts([summarise("dead", [load(0)])]) == []
