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


class _Owner:
    """The entries of one scope, until the scope is forgotten: then they have an owner whom nobody knows."""

    __slots__ = ("count", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope, self.count = scope, 0


class ExactTier:
    """Answers by (scope, key). Values are kept packed: small, not to be changed by who got one, and no batch's array
    stays alive because one row of it is remembered."""

    def __init__(self, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._ttl_s, self._clock = max_bytes, ttl_s, clock
        self._entries: OrderedDict[tuple[_Owner, bytes], tuple[float, bytes]] = OrderedDict()
        self._owners: dict[Scope, _Owner] = {}
        self.bytes = 0  # those of forgotten scopes included, until they are the least recently used

    def __len__(self) -> int:
        return sum(owner.count for owner in self._owners.values())

    def get(self, scope: Scope, key: bytes) -> Entry | None:
        """Return the entry, or None."""
        if (owner := self._owners.get(scope)) is None:
            return None
        place = (owner, key)
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
        value = pack(entry, key)
        if (owner := self._owners.get(scope)) is not None and (owner, key) in self._entries:
            self._drop((owner, key))
        size = _size(key, value)
        if size > self._max_bytes:
            return
        owner = self._owners.setdefault(scope, _Owner(scope))
        self._entries[owner, key] = (self._clock() + self._ttl_s, value)
        owner.count += 1
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def counts(self) -> dict[str, int]:
        """Return how many entries each model has."""
        counts: Counter[str] = Counter()
        for owner in self._owners.values():
            counts[owner.scope.model] += owner.count
        return dict(counts)

    def count(self, selection: Selection) -> int:
        """Return how many entries `forget` would forget."""
        owners = self._covered(selection)
        if selection.key is None:
            return sum(owner.count for owner in owners)
        return sum((owner, selection.key) in self._entries for owner in owners)

    def forget(self, selection: Selection) -> int:
        """Forget entries and return how many; no entry is looked at, so 100,000 stop nobody's request."""
        forgotten = self.count(selection)
        for owner in self._covered(selection):
            if selection.key is None:
                del self._owners[owner.scope]
            elif (owner, selection.key) in self._entries:
                self._drop((owner, selection.key))
        return forgotten

    def _covered(self, selection: Selection) -> list[_Owner]:
        return [owner for scope, owner in self._owners.items() if selection.covers(scope)]

    def _drop(self, place: tuple[_Owner, bytes]) -> None:
        _, value = self._entries.pop(place)
        owner, key = place
        owner.count -= 1
        self.bytes -= _size(key, value)
        if not owner.count and self._owners.get(owner.scope) is owner:
            del self._owners[owner.scope]


def _size(key: bytes, value: bytes) -> int:
    return sys.getsizeof(key) + sys.getsizeof(value) + OVERHEAD_BYTES
