"""The profile's lines, and when the n-th request is due under them."""

import math

import pytest

from loadtests.profile import SHAPES, Profile, Shape


def test_a_constant_load_is_the_same_throughout_and_may_have_no_end() -> None:
    profile = Profile.of("constant", 127, math.inf, 4)
    assert [profile.moment(number) for number in (0, 127, 127_000)] == [0, 1, 1000]
    assert profile.level(1e6) == 127


def test_a_ramp_rises_evenly() -> None:
    profile = Profile.of("ramp", 10, 20, 4)
    assert [profile.level(moment) for moment in (0, 5, 20, 21)] == [0, 2.5, 10, 0]
    assert profile.requests == 100
    assert profile.moment(25) == 10  # a quarter of the requests in the first half
    assert profile.moment(100) == 20
    assert profile.moment(101) == math.inf


def test_a_spike_is_the_middle_third() -> None:
    profile = Profile.of("spike", 2, 30, 5)
    assert [profile.level(moment) for moment in (0, 9.9, 10, 19.9, 20, 30)] == [2, 2, 10, 10, 2, 2]
    assert [profile.moment(number) for number in (10, 20, 70, 120, 140)] == [5, 10, 15, 20, 30]


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_are_the_inverse_of_the_area(shape: Shape) -> None:
    profile = Profile.of(shape, 7, 12, 3)
    step_s, area = 1e-4, 0.0
    for step in range(round(profile.seconds / step_s)):
        area += profile.level((step + 0.5) * step_s) * step_s
        if step % 10_000 == 9_999:
            assert profile.moment(area * (1 - 1e-9)) == pytest.approx((step + 1) * step_s, abs=1e-3)


@pytest.mark.parametrize("level", [0, -1, math.nan])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Profile.of("constant", level, 10, 4)
