"""The plan: shares of alpha, bins, its name, and where the proof is expected."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.plan import THRESHOLDS, Plan, start_threshold


def test_the_grid() -> None:
    assert (len(THRESHOLDS), THRESHOLDS[0], THRESHOLDS[1], THRESHOLDS[6], THRESHOLDS[-1]) == (16, 2.0, 1.95, 1.7, 1.25)


@pytest.mark.parametrize("start", [None, *THRESHOLDS])
def test_the_regions_share_alpha_and_no_more(start: float | None) -> None:
    weights = Plan(start).weights
    assert math.fsum(weights) == pytest.approx(1)
    assert min(weights) >= 0.5 / 16


def test_half_of_alpha_waits_at_the_start_threshold() -> None:
    assert Plan(1.7).weights == tuple(0.53125 if threshold == 1.7 else 0.03125 for threshold in THRESHOLDS)


@given(st.floats(allow_nan=True))
def test_the_bin_is_the_smallest_region_with_the_score(score: float) -> None:
    first = Plan().bin_of(score)
    if first is None:
        assert not score >= 1.25
    else:
        assert THRESHOLDS[first] <= score
        assert first == 0 or score < THRESHOLDS[first - 1]


@pytest.mark.parametrize(
    "other", [Plan(start=1.7), Plan(delta=0.02), Plan(a_min=0.2), Plan(thresholds=(2.0, 1.5)), Plan(score="another")]
)
def test_another_plan_has_another_name(other: Plan) -> None:
    assert other.name != Plan().name == Plan().name


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 1.71},
        {"thresholds": (1.0, 2.0)},
        {"thresholds": (2.0, 2.0)},
        {"delta": 0.0},
        {"delta": 0.2},
        {"alpha": 1.0},
        {"a_min": 0.0},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"start threshold|must fall|needs 0 <"):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_start_is_one_step_above_the_largest_region_with_half_of_delta_wrong() -> None:
    # .5 % of 1,000 down to 1.75, then too many.
    replayed = [(1.82, i < 2) for i in range(600)] + [(1.77, i < 3) for i in range(400)] + [(1.72, True)]
    assert start_threshold(replayed) == 1.80
    assert start_threshold([*replayed, (1.76, True)]) == 1.85
    assert start_threshold([(2.5, False)] * 300 + [(1.97, True)] * 9) == 2.0  # nothing is above the first


def test_no_start_without_a_good_region() -> None:
    assert start_threshold([]) is None
    assert start_threshold([(1.0, False)] * 1000) is None
    assert start_threshold([(1.9, True)] * 10 + [(1.5, False)] * 100) is None
