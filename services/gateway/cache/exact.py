"""Exact entries in this process: the least recently used go when the bytes are full."""

import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from gateway.cache.entry import Entry, pack, unpack
from gateway.cache.scope import Scope, Selection

# What an entry costs beside its key and its value: two tuples, a float, a slot and a link of the mapping; between 205
# and 240 bytes, as full as the mapping happens to be. A test compares with what the process really pays.
OVERHEAD_BYTES = 224


class ExactTier:
    """Answers by (scope, key). Values are kept packed: small, not to be changed by who got one, and no batch's array
    stays alive because one row of it is remembered."""

    def __init__(self, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl_s, self._clock = max_bytes, ttl_s, clock
        self._entries: OrderedDict[tuple[Scope, bytes], tuple[float, bytes]] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, scope: Scope, key: bytes) -> Entry | None:
        """Return the entry, or None."""
        place = (scope, key)
        if (kept := self._entries.get(place)) is None:
            return None
        expires_s, value = kept
        if expires_s <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return unpack(value, key)

    def put(self, scope: Scope, key: bytes, entry: Entry) -> None:
        """Keep an inferred answer; one that alone is more than the tier holds is not kept."""
        place, value = (scope, key), pack(entry, key)
        if place in self._entries:
            self._drop(place)
        size = _size(key, value)
        if size > self._max_bytes:
            return
        self._entries[place] = (self._clock() + self._ttl_s, value)
        self._counts[scope.model] += 1
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def counts(self) -> dict[str, int]:
        """Return how many entries each model has."""
        return {model: count for model, count in self._counts.items() if count}

    def count(self, selection: Selection) -> int:
        """Return how many entries `forget` would forget."""
        return len(self._covered(selection))

    def forget(self, selection: Selection) -> int:
        """Forget entries and return how many."""
        covered = self._covered(selection)
        for place in covered:
            self._drop(place)
        return len(covered)

    def _covered(self, selection: Selection) -> list[tuple[Scope, bytes]]:
        """Look at every entry, 0.1 us each: people forget seldom, and nothing is paid for it in between."""
        scopes: dict[Scope, bool] = {}
        covered = []
        for place in self._entries:
            scope, key = place
            if (is_covered := scopes.get(scope)) is None:
                is_covered = scopes[scope] = selection.covers(scope)
            if is_covered and (selection.key is None or selection.key == key):
                covered.append(place)
        return covered

    def _drop(self, place: tuple[Scope, bytes]) -> None:
        _, value = self._entries.pop(place)
        scope, key = place
        self._counts[scope.model] -= 1
        self.bytes -= _size(key, value)


def _size(key: bytes, value: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + OVERHEAD_BYTES
