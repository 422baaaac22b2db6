"""A store: exact entries and nearest neighbours behind one interface, in process or in Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gateway.cache.entry import Entry, Floats
from gateway.cache.scope import Scope, Selection


@dataclass(frozen=True, slots=True)
class Query:
    """One text to look up: its key, and its vector where neighbours are wanted (any length, not zero)."""

    key: bytes
    vector: Floats | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An earlier text's answer, and how similar that text is (cosine)."""

    similarity: float
    entry: Entry


@dataclass(frozen=True, slots=True)
class Found:
    """What a store holds about one query; neighbours from the most similar down."""

    exact: Entry | None = None
    neighbours: tuple[Neighbour, ...] = ()


NOTHING = Found()


@dataclass(frozen=True, slots=True)
class Addition:
    """An inferred answer to keep; without a vector it is found by its key alone."""

    key: bytes
    entry: Entry
    vector: Floats | None = None


class Store(Protocol):
    """Trouble is never an error here: it is nothing found, or something not kept, and a metric."""

    async def look_up(self, scope: Scope, queries: Sequence[Query]) -> list[Found]:
        """Return what is known about each query, in order."""

    def add(self, scope: Scope, additions: Sequence[Addition]) -> None:
        """Keep answers, later and off the request's path; never waits, drops what does not fit the queue."""

    async def settled(self) -> None:
        """Wait until everything added so far is kept or dropped."""

    async def count(self, selection: Selection) -> int | None:
        """Return how many semantic entries `forget` would forget; None when the store cannot say."""

    async def forget(self, selection: Selection) -> bool:
        """Forget entries everywhere; False when others that share the store could not be told yet."""


def has_direction(vector: Floats) -> bool:
    """Whether similarity to the vector means something: an empty text's vector is zero."""
    square = float(np.dot(vector, vector))
    return 0.0 < square < np.inf
