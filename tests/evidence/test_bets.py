"""The bets: their values, what they imply, and that wealth is no illusion."""

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.bets import high, low, mixture, noninf, paired, upper_bound

MANY = 10**9
ERRORS = (1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
FLIPS = (1.5, 2.0, 3.0, 4.5, 6.3)


@pytest.mark.parametrize(
    ("log_wealth", "expected"),
    [
        (low(440, 0, 0.01), 3.1078),
        (low(3000, 15, 0.01), 3.5114),
        (low(12000, 60, 0.01), 16.7394),
        (low(12000, 100, 0.01), 0.1237),
        (paired(70, 20, 1000, 0.005), 10.2657),
        (noninf(25, 25, 1000, 0.02), 2.5290),
        (high(7, 7, 0.15, FLIPS), 11.3704),
        (high(400, 8, 0.002, ERRORS), 9.9934),
    ],
)
def test_values(log_wealth: float, expected: float) -> None:
    assert log_wealth == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("n", "k", "bound"), [(3000, 15, 0.00963), (440, 0, 0.00969)])
def test_upper_bounds(n: int, k: int, bound: float) -> None:
    assert upper_bound(n, k, 0.05) == pytest.approx(bound, abs=5e-6)


@pytest.mark.parametrize(
    ("rate", "labels"), [(0, 427), (0.002, 677), (0.004, 1566), (0.005, 2465), (0.006, 4238), (0.0075, 13128)]
)
def test_how_many_labels_prove_less_than_one_percent(rate: float, labels: int) -> None:
    proof = math.log(20)
    assert next(n for n in itertools.count(1) if low(n, round(n * rate), 0.01) >= proof) == labels


def test_the_share_of_failures_can_be_built_from_a_mixture() -> None:
    on_canary, on_stable, weight = 8, 12, 0.05
    fair = weight * 1.5 / (1 - weight + weight * 1.5)
    shares = [weight * r * 1.5 / (1 - weight + weight * r * 1.5) for r in (1.5, 2, 3, 5, 8, 15, 40, 200)]
    logs = (on_canary * math.log(q / fair) + on_stable * math.log((1 - q) / (1 - fair)) for q in shares)
    assert mixture(logs) == pytest.approx(7.0283, abs=5e-5)


@pytest.mark.parametrize(
    ("wealth", "outcomes"),
    [
        (lambda n, k: low(n, k, 0.1), {1: 0.1, 0: 0.9}),
        (lambda n, k: high(n, k, 0.1, FLIPS), {1: 0.1, 0: 0.9}),
        (lambda n, k: paired(k, 0, n, 0.1), {1: 0.1, 0: 0.9}),
        (lambda n, k: noninf(k, 0, n, 0.1), {1: 0.1, 0: 0.9}),
        (lambda n, k: paired(k, n - k, n, 0.1), {1: 0.55, 0: 0.45}),
        (lambda n, k: noninf(k, n - k, n, 0.1), {1: 0.55, 0: 0.45}),
    ],
)
def test_wealth_is_a_fair_game_on_the_edge_of_the_hypothesis(
    wealth: Callable[[int, int], float], outcomes: dict[int, float]
) -> None:
    n = 12
    expected = sum(
        math.comb(n, k) * outcomes[1] ** k * outcomes[0] ** (n - k) * math.exp(wealth(n, k)) for k in range(n + 1)
    )
    assert expected == pytest.approx(1)


counts = st.tuples(st.integers(0, MANY), st.integers(0, MANY)).map(lambda pair: (max(pair), min(pair)))
rates = st.floats(1e-6, 0.9)


@given(counts, rates)
def test_evidence_is_finite_and_grows_with_every_outcome_that_speaks_for_it(pair: tuple[int, int], m: float) -> None:
    n, k = pair
    for less, more in ((low(n, k, m), low(n + 1, k, m)), (high(n, k, m, FLIPS), high(n + 1, k + 1, m, FLIPS))):
        assert math.isfinite(less)
        assert more >= less
    assert low(n + 1, k + 1, m) <= low(n, k, m)
    assert high(n + 1, k, m, FLIPS) <= high(n, k, m, FLIPS)


@given(counts, st.floats(0.001, 0.2))
def test_paired_evidence_is_finite_and_grows_with_every_outcome_that_speaks_for_it(
    pair: tuple[int, int], m: float
) -> None:
    n, b = pair
    c = (n - b) // 2
    assert math.isfinite(paired(b, c, n, m))
    assert math.isfinite(noninf(b, c, n, m))
    assert paired(b + 1, c, n + 1, m) >= paired(b, c, n, m) >= paired(b, c + 1, n + 1, m)
    assert noninf(b, c + 1, n + 1, m) >= noninf(b, c, n, m) >= noninf(b + 1, c, n + 1, m)


@given(counts, rates)
def test_counts_that_fit_the_hypothesis_are_no_evidence_against_it(pair: tuple[int, int], m: float) -> None:
    n, k = pair
    slack = 1e-6 * (1 + n)  # of the rounding
    if k >= m * n:
        assert low(n, k, m) <= slack
    if k <= m * n:
        assert high(n, k, m, FLIPS) <= slack


@given(counts, st.floats(0.001, 0.5))
def test_the_upper_bound_is_where_the_proof_begins(pair: tuple[int, int], alpha: float) -> None:
    n, k = pair
    bound = upper_bound(n, k, alpha)
    assert k / max(n, 1) <= bound <= 1
    if bound < 1:
        assert low(n, k, bound) >= math.log(1 / alpha)
    if bound < 0.999 and bound - 2e-12 > k / n:
        assert low(n, k, bound - 2e-12) < math.log(1 / alpha)


def test_nothing_counted_says_nothing() -> None:
    assert low(0, 0, 0.01) == high(0, 0, 0.01, FLIPS) == paired(0, 0, 0, 0.01) == noninf(0, 0, 0, 0.01) == 0
    assert upper_bound(0, 0, 0.05) == upper_bound(5, 5, 0.05) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: low(5, 6, 0.1),
        lambda: low(5, -1, 0.1),
        lambda: low(5, 1, 0.0),
        lambda: low(5, 1, 1.0),
        lambda: high(5, 1, 0.98, FLIPS),
        lambda: high(5, 1, 0.1, (0.5, 2.0)),
        lambda: paired(3, 3, 5, 0.1),
        lambda: paired(1, 1, 5, 0.25),
        lambda: noninf(1, 1, 5, -0.25),
        lambda: upper_bound(5, 1, 0.0),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Callable[[], float]) -> None:
    with pytest.raises(ValueError, match=r"no counts|not between|above 1"):
        wrong()
