"""The meter: a fair game, its figures, and that the limit holds while the truth passes by."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.meter import CAUTION, most_false_hits, theta

A_MIN = 0.1


@given(st.floats(A_MIN, 1))
def test_a_false_hit_is_a_fair_game_at_every_rate(rate: float) -> None:
    c = CAUTION * A_MIN
    assert (1 - rate) * math.exp(c) + rate * math.exp(c - theta(rate, A_MIN)) == pytest.approx(1)


def test_the_figures() -> None:
    assert most_false_hits(0.0, A_MIN) == pytest.approx(37.4, abs=0.1)
    per_error = {rate: most_false_hits(theta(rate, A_MIN), A_MIN) - most_false_hits(0.0, A_MIN) for rate in (1.0, 0.1)}
    assert per_error == {1.0: pytest.approx(1), 0.1: pytest.approx(18.3, abs=0.1)}


@pytest.mark.parametrize("rate", [0.0, 0.09, 1.1, math.nan])
def test_a_rate_that_no_coin_has_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="not between"):
        theta(rate, A_MIN)


def test_the_limit_holds_at_every_moment_and_stays_near() -> None:
    coins, streams = np.random.default_rng(0), 1_000
    false_hits = np.arange(1, 1_001)
    rates = np.where(false_hits <= 50, 1.0, A_MIN)  # the share of audits falls
    steps = np.array([theta(rate, A_MIN) for rate in rates])
    meters = np.cumsum(np.where(coins.random((streams, 1_000)) < rates, steps, 0.0), axis=1)
    breaches = sum(
        any(count > most_false_hits(meter, A_MIN) for count, meter in enumerate(stream, start=1))
        for stream in meters.tolist()
    )
    assert breaches / streams <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / streams)  # of the sampling
    assert most_false_hits(float(meters[:, -1].mean()), A_MIN) < 2 * 1_000
