"""The key of an exact entry: what the model would see of a text, for whom, from which version.

A text is its token ids. Texts that tokenise alike (case and spaces that the tokenizer drops, whatever lies past
`max_length`) get the same answer from the model, so they share a key. Pairs have type ids as well, and a mark of their
own. Every part is preceded by its length, so no two different calls hash the same bytes.
"""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np

SINGLE, PAIR = b"text", b"pair"


def exact_key(digest: str, tenant: str, ids: Sequence[int], type_ids: Sequence[int] | None = None) -> bytes:
    """Return 32 bytes for the token `ids` (and `type_ids` of a pair) asked by `tenant` of the version `digest`."""
    content = [digest.encode(), tenant.encode(), SINGLE if type_ids is None else PAIR, _packed(ids)]
    if type_ids is not None:
        content.append(_packed(type_ids))
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in content)).digest()


def _packed(ids: Sequence[int]) -> bytes:
    return np.array(ids, dtype="<i8").tobytes()
