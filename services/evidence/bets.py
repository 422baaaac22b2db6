"""Bets: anytime-valid evidence about a mean, from counts alone.

A hypothesis says that outcomes `x` have a mean on one side of `m`. Someone bets against it with fixed factors f(x)
whose expectation is at most 1 while the hypothesis holds; the product over all outcomes is their wealth, and the chance
that it *ever* reaches 1 / alpha is at most alpha (Ville), however often one looks and whenever one stops. Several bets
share the starting wealth evenly. Factors never change, so wealth depends on counts only: order, batches and replicas
do not matter; and when the mean moves, the statement holds for its running average.

Every function returns the natural log of the wealth; log(1 / alpha) of it is proof at level alpha.
Waudby-Smith & Ramdas, https://arxiv.org/abs/2010.09686; Ramdas et al., https://arxiv.org/abs/2210.01948.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

LOW_RATIOS = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
STAKES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8)
# A ratio r bets that ones come r times as often as m says; beyond 1 / m the factor of a zero would be negative.
MOST = 0.97
BISECTIONS = 40  # halvings of [0, 1]: to 1e-12


def mixture(logs: Iterable[float]) -> float:
    """Return the log of the average wealth of several bets, given the log of each one's."""
    each = list(logs)
    most = max(each)
    return most + math.log(sum(math.exp(log - most) for log in each) / len(each))


def low(n: int, k: int, m: float) -> float:
    """Return the evidence that the rate is below `m`, from `k` ones among `n` zeros and ones."""
    _check(n, k)
    return mixture(k * one + (n - k) * zero for one, zero in _low_bets(m))


def high(n: int, k: int, m: float, ratios: tuple[float, ...]) -> float:
    """Return the evidence that the rate is above `m`; each of `ratios` (> 1) bets on a rate that many times `m`."""
    _check(n, k)
    return mixture(k * one + (n - k) * zero for one, zero in _high_bets(m, ratios))


def paired(b: int, c: int, n: int, tau: float) -> float:
    """Return the evidence that the mean of z is above `tau`: among `n`, z was +1 `b` times, -1 `c` times, else 0."""
    _check(n, b, c)
    _inside(tau, -1, 1 / STAKES[-1] - 1)
    return _stakes(b, c, n, [(stake, -tau * stake) for stake in STAKES])


def noninf(b: int, c: int, n: int, m: float) -> float:
    """Return the evidence that the mean of z is below `m`: among `n`, z was +1 `b` times, -1 `c` times, else 0."""
    _check(n, b, c)
    _inside(m, 1 - 1 / STAKES[-1], 1)
    return _stakes(b, c, n, [(-stake, m * stake) for stake in STAKES])


def upper_bound(n: int, k: int, alpha: float) -> float:
    """Return the smallest m with proof at level `alpha` that the rate is below it, for people; 1 if there is none."""
    _check(n, k)
    _inside(alpha, 0, 1)
    proof, below, above = math.log(1 / alpha), k / n if n else 1.0, 1.0
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        if below < middle < above and low(n, k, middle) >= proof:
            above = middle
        else:
            below = middle
    return above


@lru_cache
def _low_bets(m: float) -> tuple[tuple[float, float], ...]:
    _inside(m, 0, 1)
    return _rate_bets(m, LOW_RATIOS)


@lru_cache
def _high_bets(m: float, ratios: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    _inside(m, 0, MOST)
    if min(ratios) <= 1:
        raise ValueError(f"the ratios {ratios} must all be above 1: others bet on a lower rate")
    return _rate_bets(m, [min(ratio, MOST / m) for ratio in ratios])


def _rate_bets(m: float, ratios: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """Return log f(1), log f(0) of each bet: f(1) = r, f(0) = (1 - r m) / (1 - m), fair where the rate is m."""
    return tuple((math.log(r), math.log1p(-r * m) - math.log1p(-m)) for r in ratios)


def _stakes(b: int, c: int, n: int, bets: Iterable[tuple[float, float]]) -> float:
    """f(z) = 1 + drift + stake z."""
    return mixture(
        b * math.log1p(drift + stake) + c * math.log1p(drift - stake) + (n - b - c) * math.log1p(drift)
        for stake, drift in bets
    )


def _check(n: int, *parts: int) -> None:
    if min(parts) < 0 or sum(parts) > n:
        raise ValueError(f"{parts} are no counts among {n}")


def _inside(value: float, least: float, most: float) -> None:
    if not least < value < most:
        raise ValueError(f"{value} is not between {least} and {most}")
