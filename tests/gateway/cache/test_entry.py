"""Entries come back to the last bit, from the place they were made for and no other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gateway.cache.entry import Entry, Floats, pack, unpack
from tests.gateway.cache.stores import entry, same


@given(
    label=st.none() | st.integers(0, 2**31 - 1),
    score=st.floats(allow_nan=False),
    logits=arrays(np.float32, st.integers(0, 200), elements=st.floats(width=32)),
    place=st.binary(),
)
def test_what_is_packed_comes_back(label: int | None, score: float, logits: Floats, place: bytes) -> None:
    assert same(unpack(pack(Entry(label, score, logits), place), place), Entry(label, score, logits))


def test_a_value_is_small_and_what_comes_back_cannot_be_changed() -> None:
    value = pack(Entry(3, 0.9, np.zeros(150, np.float32)), b"place")
    assert len(value) == 17 + 600
    found = unpack(value, b"place")
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found.logits[0] = 1


def test_a_row_of_a_batch_is_packed_as_its_own() -> None:
    batch = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = unpack(pack(Entry(0, 1.0, batch[:, 1]), b""), b"")
    assert found is not None
    assert found.logits.tolist() == [1, 4, 7, 10]


def test_only_its_own_place_reads_it() -> None:
    assert unpack(pack(entry(1), b"alice"), b"bob") is None


@given(st.binary(max_size=80) | st.none() | st.integers() | st.text())
def test_garbage_is_no_entry(value: object) -> None:
    assert unpack(value, b"place") is None


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    value = bytearray(pack(entry(1), b"place"))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(value), b"place") is None


def test_a_cut_or_longer_value_is_no_entry() -> None:
    value = pack(entry(1), b"place")
    for wrong in (value[:-1], value[:-4], value + b"\0", value + b"\0" * 4, b""):
        assert unpack(wrong, b"place") is None
