"""A tensor's contents, raw and element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from gateway.errors import InvalidRequestError
from gateway.serving.payload import DTYPES, Tensor


@given(st.lists(st.text(max_size=20), max_size=8))
def test_texts_are_written_and_read_as_tritons_own_client_does(texts: list[str]) -> None:
    raw = Tensor("text", "BYTES", (len(texts),), texts).raw()
    expected = serialize_byte_tensor(np.array([text.encode() for text in texts], dtype=np.object_))
    assert raw == (expected.item() if expected.size else b"")
    assert [item.decode() for item in deserialize_bytes_tensor(raw)] == texts
    assert Tensor("text", "BYTES", (len(texts),), raw).elements() == texts


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BOOL"])
def test_numbers_come_back(datatype: str) -> None:
    tensor = Tensor("x", datatype, (2, 2), [1, 2, 3, 100])
    assert len(tensor.raw()) == 4 * np.dtype(DTYPES[datatype]).itemsize
    assert Tensor("x", datatype, (2, 2), tensor.raw()).elements() == [1, 2, 3, 100]


def test_raw_contents_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="7 bytes, its type and shape say 8"):
        Tensor("x", "INT64", (1,), b"1234567").elements()
    with pytest.raises(InvalidRequestError, match="'COMPLEX', which is not known"):
        Tensor("x", "COMPLEX", (1,), b"").elements()


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        texts = Tensor("text", "BYTES", (1,), raw).elements()
    except InvalidRequestError:
        return
    assert Tensor("text", "BYTES", (1,), list(texts)).raw() == raw
