"""The embedder: token ids in, a vector out, from the table of token vectors that a version was published with.

A text's vector is the sum of its tokens' vectors, normalised: no network, about 10 microseconds. The table's scale
does not matter then, so none is stored beside its INT8 values.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Embedder:
    """`table` holds INT8 values row by row, [vocabulary, width]; ValueError when it has another size."""

    def __init__(self, table: bytes, *, vocab_size: int, width: int) -> None:
        if len(table) != vocab_size * width:
            raise ValueError(f"the embedding table has {len(table)} bytes, not {vocab_size} tokens x {width}")
        # Read where it lies: workers of one machine need no copy of it.
        self._table = np.frombuffer(table, dtype=np.int8).reshape(vocab_size, width)
        self.width = width

    def embed(self, ids: Sequence[int]) -> Floats | None:
        """Return [width], of length 1; None for a text of special and unknown tokens alone: their vectors are zero."""
        vector: Floats = self._table.take(ids, axis=0).sum(axis=0, dtype=np.float32)
        length = math.sqrt(float(vector @ vector))
        return vector / np.float32(length) if length else None
