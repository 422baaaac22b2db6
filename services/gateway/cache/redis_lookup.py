"""One look-up as Redis' commands, and Redis' answers as what was found."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gateway.cache.entry import Entry, Floats, unpack
from gateway.cache.redis_link import Command
from gateway.cache.redis_names import Names
from gateway.cache.scope import Scope
from gateway.cache.score import K
from gateway.cache.store import Found, Neighbour, Query, has_direction

# A search takes 0.2 to 0.4 ms of Redis' only thread (quicker there than on one of its own: NOTHREAD), so one call
# may keep it from others for some milliseconds and not longer; the texts after these are looked up by key alone.
MAX_SEARCHES = 16
SEARCH = ("COUNT", K, "EF", 50, "NOTHREAD")
ATTRIBUTES_SINCE = (8, 2)  # before it VSIM answers without attributes, and a second question asks for them


@dataclass(frozen=True, slots=True)
class Lookup:
    """The queries of one call in one scope; `malformed` is told the tier of every entry that cannot be used."""

    scope: Scope
    names: Names
    queries: Sequence[Query]
    searched: tuple[int, ...]  # positions of the queries whose neighbours are asked for
    with_attributes: bool
    malformed: Callable[[str], None]

    @classmethod
    def of(
        cls,
        scope: Scope,
        names: Names,
        queries: Sequence[Query],
        version: tuple[int, ...] | None,
        malformed: Callable[[str], None],
    ) -> "Lookup":
        """Return the look-up for a Redis of this version; None: it has no vector sets."""
        searched = islice(_directed(queries), MAX_SEARCHES if version else 0)
        return cls(
            scope, names, queries, tuple(searched), version is not None and version >= ATTRIBUTES_SINCE, malformed
        )

    def commands(self) -> list[Command]:
        """Return what is asked, all of it in one round trip."""
        options = ("WITHSCORES", "WITHATTRIBS", *SEARCH) if self.with_attributes else ("WITHSCORES", *SEARCH)
        searches: list[Command] = [
            ("VSIM", self.names.vectors, "FP32", _bytes(self.queries[position].vector), *options)
            for position in self.searched
        ]
        return [("MGET", *(self.names.exact(query.key) for query in self.queries)), *searches]

    def attribute_commands(self, answers: Sequence[Any]) -> list[Command]:
        """Return what else an old Redis must be asked."""
        if self.with_attributes:
            return []
        return [("VGETATTR", self.names.vectors, name) for flat in _lists(answers[1:]) for name in flat[::2]]

    def with_values(self, answers: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """Return the answers as if the old Redis had answered with attributes."""
        left = iter(values)
        searches = [
            [part for name, score in zip(flat[::2], flat[1::2], strict=False) for part in (name, score, next(left))]
            for flat in _lists(answers[1:])
        ]
        return [answers[0], *searches]

    def found(self, answers: Sequence[Any]) -> list[Found]:
        """Read the answers."""
        count = len(self.queries)
        values = answers[0] if isinstance(answers[0], list) and len(answers[0]) == count else [None] * count
        neighbours = {
            position: self._neighbours(answer) for position, answer in zip(self.searched, answers[1:], strict=True)
        }
        return [
            Found(self._exact(query.key, value), neighbours.get(position, ()))
            for position, (query, value) in enumerate(zip(self.queries, values, strict=True))
        ]

    def _exact(self, key: bytes, value: Any) -> Entry | None:
        if value is None:
            return None
        if (entry := unpack(value, self.scope.place(key))) is None:
            self.malformed("redis")
        return entry

    def _neighbours(self, answer: Any) -> tuple[Neighbour, ...]:
        flat = answer if isinstance(answer, list) and len(answer) % 3 == 0 else [None] * 3
        found = []
        for name, score, value in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            entry = unpack(value, self.scope.place(name)) if isinstance(name, bytes) else None
            similarity = _similarity(score)
            if entry is None or similarity is None:
                self.malformed("semantic")
            else:
                found.append(Neighbour(similarity, entry))
        return tuple(found)


def _directed(queries: Sequence[Query]) -> Iterator[int]:
    for position, query in enumerate(queries):
        if query.vector is not None and has_direction(query.vector):
            yield position


def _bytes(vector: Floats | None) -> bytes:
    return b"" if vector is None else vector.astype("<f4", copy=False).tobytes()


def _lists(answers: Sequence[Any]) -> list[list[Any]]:
    return [answer if isinstance(answer, list) else [] for answer in answers]


def _similarity(score: Any) -> float | None:
    """Return the cosine: VSIM's score is (1 + cosine) / 2."""
    try:
        similarity = 2.0 * float(score) - 1.0
    except (ValueError, TypeError):
        return None
    return similarity if math.isfinite(similarity) else None
