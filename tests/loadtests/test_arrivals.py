"""The timetable is constant, does not drift, ends with its profile and knows what nobody has taken."""

import math

from loadtests.arrivals import Arrivals
from loadtests.profile import Profile


def arrivals(rate: float, seconds: float = math.inf) -> Arrivals:
    """A constant timetable that begins at 10."""
    return Arrivals(10, Profile.of("constant", rate, seconds, 1))


def test_requests_are_due_at_a_constant_rate_without_drift() -> None:
    timetable = arrivals(127)
    assert [timetable.due(number) for number in (0, 127, 127_000)] == [10, 11, 1010]


def test_each_request_is_taken_once_until_the_end() -> None:
    timetable = arrivals(2, seconds=1)
    assert [timetable.take() for _ in range(5)] == [10, 10.5, 11, math.inf, math.inf]
    assert timetable.taken == 3


def test_what_was_due_and_not_taken_is_missed() -> None:
    timetable = arrivals(4)
    assert timetable.missed(9.9) == 0
    assert timetable.missed(10.6) == 3  # at 10, 10.25 and 10.5
    timetable.take()
    assert timetable.missed(10.6) == 2
    assert arrivals(4, seconds=1).missed(1e6) == 5
