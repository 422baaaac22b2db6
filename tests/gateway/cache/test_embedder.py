"""Tests of services/gateway/cache/embedder.py."""

import timeit

import numpy as np
import pytest

from gateway.cache.embedder import Embedder

TABLE = np.array([[0, 0], [0, 0], [3, 0], [0, 4], [-3, 0]], dtype=np.int8)  # ids 0 and 1 are special


def embedder() -> Embedder:
    return Embedder(TABLE.tobytes(), vocab_size=5, width=2)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([2], [1.0, 0.0]), ([0, 2, 3, 1], [0.6, 0.8]), ([3, 2], [0.6, 0.8]), ([3, 3], [0.0, 1.0])],
)
def test_a_text_is_the_normalised_sum_of_its_tokens(ids: list[int], expected: list[float]) -> None:
    vector = embedder().embed(ids)
    assert vector is not None
    assert vector.dtype == np.float32
    assert vector.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("ids", [[0, 1], [], [2, 4]])
def test_what_has_no_direction_has_no_vector(ids: list[int]) -> None:
    assert embedder().embed(ids) is None


def test_sums_do_not_overflow_the_int8_of_the_table() -> None:
    vector = Embedder(np.full((1, 2), 127, dtype=np.int8).tobytes(), vocab_size=1, width=2).embed([0] * 500)
    assert vector is not None
    assert vector.tolist() == pytest.approx([2**-0.5, 2**-0.5])


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="10 bytes, not 5 tokens x 3"):
        Embedder(TABLE.tobytes(), vocab_size=5, width=3)


def test_a_short_text_costs_far_less_than_a_network() -> None:
    full = Embedder(bytes(range(256)) * 30_000, vocab_size=30_000, width=256)
    ids = list(range(0, 28_000, 2_000))
    full.embed(ids)
    # 10 us alone on a machine; the limit of the issue is 100, and this machine may be busy.
    assert min(timeit.repeat(lambda: full.embed(ids), number=200, repeat=10)) / 200 < 100e-6
