"""The timetable is constant, does not drift and counts the wait of a late sender."""

import pytest

from loadtests.arrivals import Arrivals


def test_requests_are_due_at_a_constant_rate_without_drift() -> None:
    arrivals = Arrivals(start=10, per_s=127)
    assert [arrivals.due(number) for number in (0, 127, 127_000)] == [10, 11, 1010]


def test_latency_counts_from_when_the_request_was_due() -> None:
    assert Arrivals(start=10, per_s=4).latency_ms(2, answered=11.0) == 500


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="arrival rate"):
        Arrivals(0, rate)
