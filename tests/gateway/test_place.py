"""The place of a worker: travels as an argument, and has its part of a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.place import Place


def place(index: int, workers: int) -> Place:
    return Place(workers=workers, http_port=1, grpc_port=2, buckets=3, log_level="info", index=index)


def test_travels() -> None:
    assert Place.loads(place(1, 4).dumps()) == place(1, 4)


@given(st.integers(1, 16), st.integers(1, 5000))
def test_shares_make_the_whole_and_are_alike(workers: int, whole: int) -> None:
    shares = [place(index, workers).share(whole) for index in range(workers)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(("index", "share"), [(0, 4), (1, 3), (2, 3)])
def test_the_first_get_what_is_left_over(index: int, share: int) -> None:
    assert place(index, 3).share(10) == share
