"""An entry: what inference answered to one text, as few bytes that only fit the place they were made for."""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Format, checksum, label index (-1: the model has no labels), score; then the logits as they came.
HEAD = struct.Struct("<BIid")
FORMAT = 1
CHECKED_FROM = 5  # the checksum covers what follows it


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction: the label's index in the manifest (None: a model without labels), score, logits [classes]."""

    label: int | None
    score: float
    logits: Floats = field(compare=False)


def pack(entry: Entry, place: bytes) -> bytes:
    """Return the entry's bytes for `place`, the name of its version, tenant and text.

    Logits stay float32: a hit answers exactly what inference answered, probabilities of every class included.
    """
    label = -1 if entry.label is None else entry.label
    logits = np.ascontiguousarray(entry.logits, dtype="<f4").tobytes()
    checked = HEAD.pack(FORMAT, 0, label, entry.score)[CHECKED_FROM:] + logits
    return struct.pack("<BI", FORMAT, zlib.crc32(checked, zlib.crc32(place))) + checked


def unpack(value: object, place: bytes) -> Entry | None:
    """Return the entry, its logits read-only; None when `value` is anything but an entry that was made for `place`."""
    if not isinstance(value, bytes) or len(value) < HEAD.size or (len(value) - HEAD.size) % 4:
        return None
    form, checksum, label, score = HEAD.unpack_from(value)
    if form != FORMAT or checksum != zlib.crc32(memoryview(value)[CHECKED_FROM:], zlib.crc32(place)):
        return None
    return Entry(None if label < 0 else label, score, np.frombuffer(value, dtype="<f4", offset=HEAD.size))
