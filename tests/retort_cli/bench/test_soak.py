"""The soak's verdict: growth since the warm-up, memory in all, errors."""

import pytest

from retort_cli.bench.soak import Sample, judge


@pytest.mark.parametrize(
    ("end_mb", "errors", "is_met"),
    [(104.9, 0, True), (95.0, 0, True), (105.0, 0, False), (104.9, 1, False)],
)
def test_growth_counts_from_the_end_of_the_warm_up(end_mb: float, errors: int, is_met: bool) -> None:
    found = judge([Sample(1_000, 100.0), Sample(6_000, 130.0), Sample(11_000, end_mb)], errors)
    assert found.growth_mb == pytest.approx(end_mb - 100)
    assert (found.warmup_requests, found.requests, found.is_met) == (1_000, 10_000, is_met)


def test_a_large_gateway_misses_the_target_without_growing() -> None:
    assert not judge([Sample(1, 260.0), Sample(2, 260.0)], 0).is_met
