"""The audited bound: the coin, what a draw adds, the chain, the guard of the classes, forgetting."""

import itertools
import math
import random
import statistics
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.bets import low, upper_bound
from gateway.cache.bound import Decision, audit_rate, closed_classes, decide, is_full, learned, resets, toss
from gateway.cache.counters import Counters
from gateway.cache.meter import theta
from gateway.cache.plan import THRESHOLDS, Plan

PLAN = Plan(start=1.7)
BINS = len(THRESHOLDS)
CLOSED = decide(Counters.empty(BINS), PLAN)
OPEN = replace(CLOSED, served_threshold=1.6, bins=9, closed_classes=frozenset({"shut"}))
SHORT = Plan(thresholds=(3.0, 2.0, 1.0), start=3.0)  # alpha * (2/3, 1/6, 1/6)

scores = st.floats(0.5, 2.8)
labels = st.sampled_from(["card", "shut"])
decisions = st.sampled_from([CLOSED, OPEN])
uniforms = st.floats(0, 1, exclude_max=True)
hits = st.integers(0, 20_000)


def counters(n: dict[float, int], k: dict[float, int] | None = None) -> Counters:
    """Return draws by threshold."""
    return Counters(
        tuple(n.get(threshold, 0) for threshold in THRESHOLDS),
        tuple((k or {}).get(threshold, 0) for threshold in THRESHOLDS),
    )


def test_a_new_version_is_closed_and_audits_everything() -> None:
    assert (CLOSED.served_threshold, CLOSED.bins, CLOSED.upper_bound) == (None, 0, 1.0)
    assert audit_rate(None, 10_000, PLAN) == 1
    drawn = toss("card", 2.5, CLOSED, 10_000, 0.999, PLAN)
    assert (drawn.hit, drawn.drawn, drawn.audits, drawn.stores) == (False, True, False, True)


@pytest.mark.parametrize(
    ("served_hits", "rate"), [(0, 1), (1, 1), (500, 1), (1_000, 0.5), (2_000, 0.25), (5_000, 0.1), (10**9, 0.1)]
)
def test_audits_fall_to_a_tenth(served_hits: int, rate: float) -> None:
    assert audit_rate(1.6, served_hits, PLAN) == rate


@given(labels, labels, scores, scores, decisions, hits, uniforms)
def test_the_coin_knows_neither_text_nor_score_nor_answer(
    label: str, other: str, score: float, elsewhere: float, decision: Decision, served_hits: int, uniform: float
) -> None:
    one = toss(label, score, decision, served_hits, uniform, PLAN)
    two = toss(other, elsewhere, decision, served_hits, uniform, PLAN)
    assert (one.rate, one.drawn) == (two.rate, two.drawn)
    assert one.drawn == (uniform < one.rate)


@given(labels, scores, decisions, hits, uniforms)
def test_hits_are_what_is_proved_and_open_and_unaudited_ones_are_not_stored(
    label: str, score: float, decision: Decision, served_hits: int, uniform: float
) -> None:
    one = toss(label, score, decision, served_hits, uniform, PLAN)
    assert one.hit == (decision is OPEN and score >= 1.6 and label == "card")
    assert one.audits == (one.hit and one.drawn)
    assert one.stores == (not one.hit or one.audits)


@given(labels, scores, decisions, hits, uniforms, st.booleans())
def test_what_a_request_adds(
    label: str, score: float, decision: Decision, served_hits: int, uniform: float, wrong: bool
) -> None:
    one = toss(label, score, decision, served_hits, uniform, PLAN)
    added = learned(one, "else" if wrong else label, PLAN)
    fields = added.counters.fields()
    in_grid = one.drawn and score >= 1.25
    counted = in_grid and label not in decision.closed_classes
    by_class = in_grid and (one.hit or score >= 1.7)
    expected: dict[str, int] = {}
    if counted:
        first = next(i for i, threshold in enumerate(THRESHOLDS) if threshold <= score)
        expected |= {f"n:{first}": 1} | ({f"k:{first}": 1} if wrong else {})
    if by_class:
        expected |= {f"cn:{label}": 1} | ({f"ck:{label}": 1} if wrong else {})
    assert fields == expected
    assert added.meter == (theta(one.rate, PLAN.a_min) if one.audits and wrong else 0)


def test_a_false_hit_moves_the_meter_by_what_its_coin_weighs() -> None:
    early, late = (toss("card", 1.8, OPEN, served, 0.0, PLAN) for served in (100, 50_000))
    assert learned(early, "else", PLAN).meter == pytest.approx(0.08)
    assert learned(late, "else", PLAN).meter == pytest.approx(1.465, abs=1e-3)


def test_a_region_is_served_from_its_427th_draw_when_it_may_spend_all() -> None:
    plan = Plan(thresholds=(1.7,), start=1.7)
    assert decide(Counters((426,), (0,)), plan).served_threshold is None
    decision = decide(Counters((427,), (0,)), plan)
    assert (decision.served_threshold, decision.bins, decision.draws, decision.wrong) == (1.7, 1, 427, 0)
    assert decision.upper_bound == pytest.approx(0.01, abs=1e-4)


def needed(level: float, delta: float = 0.01) -> int:
    """Return how many faultless draws prove a region at a level."""
    return next(n for n in itertools.count(1) if low(n, 0, delta) >= math.log(1 / level))


def test_a_proved_region_hands_its_level_to_the_next() -> None:
    # Level of the second alone alpha / 6, with what the first hands on 5 alpha / 6: fewer draws are needed.
    alone, inherited = needed(SHORT.alpha / 6), needed(SHORT.alpha * 5 / 6)
    first = needed(SHORT.alpha * 2 / 3)
    assert inherited < first < alone
    assert decide(Counters((first, 0, 0), (0, 0, 0)), SHORT).bins == 3
    assert decide(Counters((first - 1, 1, 0), (0, 0, 0)), SHORT).bins == 0  # nothing proved, nothing handed on


def test_a_region_that_is_not_proved_hands_nothing_on() -> None:
    # The first is proved; the third has evidence enough for 5 alpha / 6 and not for its own alpha / 6.
    first, n = needed(SHORT.alpha * 2 / 3), 1_000
    k = next(k for k in itertools.count() if low(n, k, 0.01) < math.log(6 / SHORT.alpha))
    assert low(n, k, 0.01) >= math.log(6 / (5 * SHORT.alpha))
    rest = n - first - 100
    assert decide(Counters((first, 100, rest), (0, k, 0)), SHORT).bins == 1  # the second is bad
    assert decide(Counters((first, 100, rest), (0, 0, k)), SHORT).bins == 3  # the second is good


def test_a_region_beyond_one_that_is_not_proved_is_served_on_its_own_evidence() -> None:
    decision = decide(counters({2.0: 100, 1.7: 5_000}, {2.0: 30}), PLAN)
    assert decision.served_threshold == 1.25  # .6 % of all, though the top is bad
    assert (decision.draws, decision.wrong) == (5_100, 30)


windows = st.lists(st.tuples(st.integers(0, 1_500), st.integers(0, 6)), min_size=BINS, max_size=BINS).map(
    lambda bins: Counters(tuple(n + k for n, k in bins), tuple(k for _, k in bins))
)


@given(windows, st.integers(0, BINS - 1), st.integers(1, 2_000))
def test_right_draws_open_and_wrong_ones_close(window: Counters, index: int, more: int) -> None:
    where = tuple(more * (i == index) for i in range(BINS))
    right = decide(window + Counters(where, (0,) * BINS), PLAN)
    wrong = decide(window + Counters(where, where), PLAN)
    assert wrong.bins <= max(decide(window, PLAN).bins, index)
    assert right.bins >= decide(window, PLAN).bins


@given(windows, st.integers(0, BINS - 2))
def test_errors_moved_to_a_larger_region_close_nothing(window: Counters, index: int) -> None:
    if window.k[index] and window.n[index + 1] > window.k[index + 1]:
        k = list(window.k)
        k[index], k[index + 1] = k[index] - 1, k[index + 1] + 1
        assert decide(replace(window, k=tuple(k)), PLAN).bins >= decide(window, PLAN).bins


@given(windows)
def test_a_looser_promise_serves_no_less_and_what_is_served_keeps_the_promise(window: Counters) -> None:
    decision = decide(window, PLAN)
    assert decide(window, replace(PLAN, delta=0.02)).bins >= decision.bins
    assert decide(window, replace(PLAN, alpha=0.2)).bins >= decision.bins
    if decision.bins:
        assert decision.served_threshold == THRESHOLDS[decision.bins - 1]
        assert (decision.draws, decision.wrong) == (sum(window.n[: decision.bins]), sum(window.k[: decision.bins]))
        assert decision.upper_bound <= PLAN.delta * (1 + 1e-6)


@given(st.lists(st.tuples(scores, labels, st.booleans(), uniforms), max_size=60), st.randoms())
def test_the_order_of_draws_does_not_matter(
    requests: list[tuple[float, str, bool, float]], shuffle: random.Random
) -> None:
    def evidence(of: list[tuple[float, str, bool, float]]) -> Counters:
        total = Counters.empty(BINS)
        for score, label, wrong, uniform in of:
            one = toss(label, score, OPEN, 1_000, uniform, PLAN)
            total += learned(one, "else" if wrong else label, PLAN).counters
        return total

    shuffled = list(requests)
    shuffle.shuffle(shuffled)
    assert evidence(shuffled) == evidence(requests)
    assert decide(evidence(shuffled), PLAN) == decide(evidence(requests), PLAN)


def closes_after(rate: float, coin: random.Random, at_most: int) -> float:
    """Return after how many draws of a class that is wrong so often it is closed."""
    wrong = 0
    for n in range(1, at_most + 1):
        wrong += coin.random() < rate
        if closed_classes(replace(CLOSED_WINDOW, cn={"card": n}, ck={"card": wrong}), PLAN):
            return n
    return math.inf


CLOSED_WINDOW = Counters.empty(BINS)


@pytest.mark.parametrize(("rate", "draws", "slack"), [(1.0, 3, 0), (0.5, 7, 2), (0.2, 35, 5), (0.1, 255, 35)])
def test_how_soon_a_bad_class_is_closed(rate: float, draws: int, slack: int) -> None:
    coin = random.Random(0)
    assert abs(statistics.median(closes_after(rate, coin, 2_000) for _ in range(201)) - draws) <= slack


def test_a_class_at_the_limit_hardly_ever_closes() -> None:
    coin = random.Random(0)
    assert sum(closes_after(0.05, coin, 1_000) < math.inf for _ in range(300)) <= 0.02 * 300


def test_a_closed_class_is_not_served_and_the_region_lives_on() -> None:
    window = replace(counters({1.8: 3_000}, {1.8: 9}), cn={"card": 9, "loan": 300}, ck={"card": 9})
    decision = decide(window, PLAN)
    assert decision.closed_classes == {"card"}
    assert not decision.serves("card", 2.0)
    assert decision.serves("loan", 2.0)
    assert not decision.serves("loan", math.nan)


def test_the_reason_says_the_numbers() -> None:
    served = decide(counters({1.8: 3_000}, {1.8: 9}), PLAN)
    assert served.why == (
        "served: scores of 1.25 and more, 9 of 3,000 draws wrong, at most 0.68% (limit 1.00%); classes closed: 0"
    )
    assert CLOSED.why == (
        "nothing is served, nearest to it: scores of 1.70 and more, 0 of 0 draws wrong, at most 100.00% "
        "(limit 1.00%); classes closed: 0"
    )
    near = decide(counters({1.8: 300, 1.6: 900}, {1.6: 100}), PLAN)
    assert (near.bins, near.draws, near.wrong) == (0, 300, 0)
    assert "nearest to it: scores of 1.65 and more, 0 of 300" in near.why
    assert near.upper_bound == upper_bound(300, 0, 0.05)


def test_a_generation_is_full_by_its_own_draws() -> None:
    served = replace(CLOSED, served_threshold=1.6, bins=9)
    assert is_full(counters({1.7: 1_000, 1.6: 1_000}), served, PLAN)
    assert not is_full(counters({1.7: 1_000, 1.6: 999, 1.5: 5_000}), served, PLAN)
    assert is_full(counters({1.7: 1_000, 1.5: 9_000}), served, PLAN)
    assert not is_full(counters({1.7: 9_999}), CLOSED, PLAN)
    assert is_full(counters({1.7: 10_000}), CLOSED, PLAN)


@pytest.mark.parametrize(("gone", "of", "reset"), [(0, 0, False), (20, 100, False), (21, 100, True), (5, 5, True)])
def test_an_emptied_cache_starts_anew(gone: int, of: int, reset: bool) -> None:
    assert resets(gone, of) == reset


def test_a_look_at_150_classes_takes_less_than_two_milliseconds() -> None:
    classes = {str(label): 40 for label in range(150)}
    window = replace(counters(dict.fromkeys(THRESHOLDS, 500), dict.fromkeys(THRESHOLDS, 2)), cn=classes, ck=classes)
    seconds = []
    for _ in range(50):
        began = time.perf_counter()
        decide(window, PLAN)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.002
