"""A tensor as the Open Inference Protocol carries it: name, type, shape, and contents raw or element by element."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.errors import InvalidRequestError

# Triton's names of the types, as NumPy reads their little-endian raw contents; BYTES has a length before each element.
DTYPES = {
    "BOOL": "?",
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
SIZE = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """`data` is the raw contents (bytes), or the elements in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | Sequence[Any]

    def raw(self) -> bytes:
        """Return the contents as Triton's binary extension and gRPC's raw contents have them."""
        if isinstance(self.data, bytes):
            return self.data
        if self.datatype == "BYTES":
            elements = [str(item).encode() for item in self.data]
            return b"".join([part for item in elements for part in (SIZE.pack(len(item)), item)])
        return np.asarray(self.data, dtype=DTYPES[self.datatype]).tobytes()

    def elements(self) -> Sequence[Any]:
        """Return the elements, BYTES as text. Raises InvalidRequestError when raw contents do not fit the shape."""
        if not isinstance(self.data, bytes):
            return self.data
        if self.datatype == "BYTES":
            return _texts(self.name, self.data)
        return list(self.numbers(self.data).tolist())

    def numbers(self, raw: bytes) -> npt.NDArray[Any]:
        """Return raw contents as a flat array; raises InvalidRequestError when they do not fit type and shape."""
        if self.datatype not in DTYPES:
            raise InvalidRequestError(f"{self.name!r} has datatype {self.datatype!r}, which is not known")
        dtype = np.dtype(DTYPES[self.datatype])
        wanted = math.prod(self.shape) * dtype.itemsize
        if len(raw) != wanted:
            raise InvalidRequestError(f"{self.name!r} has {len(raw)} bytes, its type and shape say {wanted}")
        return np.frombuffer(raw, dtype)


def _texts(name: str, raw: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        start = at + SIZE.size
        if start > len(raw) or (at := start + SIZE.unpack_from(raw, at)[0]) > len(raw):
            raise InvalidRequestError(f"{name!r} ends in the middle of an element: 4 bytes of length, then the text")
        try:
            texts.append(raw[start:at].decode())
        except UnicodeDecodeError:
            raise InvalidRequestError(f"{name!r} element {len(texts)} is not UTF-8") from None
    return texts
