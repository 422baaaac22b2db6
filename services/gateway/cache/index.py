"""The semantic index of this process: one small graph a scope, capped, the least recently added go first."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence

from usearch.index import Index

from gateway.cache.entry import Floats, pack, unpack
from gateway.cache.scope import Scope, Selection
from gateway.cache.score import K
from gateway.cache.store import NOTHING, Addition, Found, Neighbour, Query, has_direction
from gateway.metrics import Metrics

TIER = "semantic"
# Half precision: similarities off by 2e-5 at most, where bytes (i8) lost every tenth nearest neighbour; as fast.
PRECISION = "f16"
# Edges of a node, and how far an addition and a search look around.
CONNECTIVITY, ADD_EXPANSION, SEARCH_EXPANSION = 16, 64, 64
MAX_QUEUE = 1024
ADDED_AT_ONCE = 4  # then requests get their turn: adding costs 0.05 to 0.1 ms


class _Graph:
    """The vectors and entries of one scope."""

    def __init__(self, width: int) -> None:
        self.index = Index(
            ndim=width,
            metric="cos",
            dtype=PRECISION,
            connectivity=CONNECTIVITY,
            expansion_add=ADD_EXPANSION,
            expansion_search=SEARCH_EXPANSION,
        )
        self.values: dict[int, bytes] = {}
        self.numbers: OrderedDict[bytes, int] = OrderedDict()  # by key, least recently added first
        self.last = 0

    def add(self, addition: Addition, vector: Floats, max_elements: int) -> None:
        self.remove(addition.key)
        while len(self.numbers) >= max_elements:
            self.remove(next(iter(self.numbers)))
        self.last += 1
        self.index.add(self.last, vector, threads=1)
        self.numbers[addition.key] = self.last
        self.values[self.last] = pack(addition.entry, b"")

    def remove(self, key: bytes) -> None:
        if (number := self.numbers.pop(key, None)) is not None:
            self.index.remove(number, threads=1)
            del self.values[number]

    def nearest(self, vector: Floats) -> tuple[Neighbour, ...]:
        matches = self.index.search(vector, K, threads=1)
        found = []
        for number, distance in zip(matches.keys.tolist(), matches.distances.tolist(), strict=True):
            if (entry := unpack(self.values.get(number), b"")) is not None:
                found.append(Neighbour(1.0 - distance, entry))
        return tuple(found)


class LocalIndex:
    """A Store without exact entries. Used on the event loop only, so nothing in it is shared between threads."""

    def __init__(self, metrics: Metrics, *, max_elements: int, max_scopes: int) -> None:
        self._max_elements, self._max_scopes = max_elements, max_scopes
        self._graphs: OrderedDict[Scope, _Graph] = OrderedDict()  # least recently used first
        self._queue: deque[tuple[Scope, Addition, Floats]] = deque()
        self._adding: asyncio.Task[None] | None = None
        self._dropped = metrics.cache_dropped.labels(TIER, "queue_full")

    async def look_up(self, scope: Scope, queries: Sequence[Query]) -> list[Found]:
        """Return the neighbours of each query that has a vector."""
        if (graph := self._graphs.get(scope)) is None:
            return [NOTHING] * len(queries)
        self._graphs.move_to_end(scope)
        return [
            NOTHING
            if query.vector is None or query.vector.size != graph.index.ndim or not has_direction(query.vector)
            else Found(neighbours=graph.nearest(query.vector))
            for query in queries
        ]

    def add(self, scope: Scope, additions: Sequence[Addition]) -> None:
        """Queue the additions that have a vector."""
        for addition in additions:
            if addition.vector is None or not has_direction(addition.vector):
                continue
            if len(self._queue) >= MAX_QUEUE:
                self._dropped.inc()
                continue
            self._queue.append((scope, addition, addition.vector))
        if self._queue and (self._adding is None or self._adding.done()):
            self._adding = asyncio.get_running_loop().create_task(self._add_queued())

    async def settled(self) -> None:
        """Wait until the queue is empty."""
        if self._adding is not None:
            await asyncio.wait([self._adding])

    async def count(self, selection: Selection) -> int:
        """Return how many entries `forget` would forget."""
        graphs = [graph for scope, graph in self._graphs.items() if selection.covers(scope)]
        return sum(len(graph.numbers) if selection.key is None else selection.key in graph.numbers for graph in graphs)

    async def forget(self, selection: Selection) -> bool:
        """Forget entries, those that still wait to be added too."""
        self.drop(selection)
        return True

    def drop(self, selection: Selection) -> None:
        """Forget at once."""
        self._queue = deque(
            waiting
            for waiting in self._queue
            if not (selection.covers(waiting[0]) and selection.key in (None, waiting[1].key))
        )
        for scope in [scope for scope in self._graphs if selection.covers(scope)]:
            if selection.key is None:
                del self._graphs[scope]
            else:
                self._graphs[scope].remove(selection.key)

    async def _add_queued(self) -> None:
        while self._queue:
            for _ in range(min(ADDED_AT_ONCE, len(self._queue))):
                scope, addition, vector = self._queue.popleft()
                if (graph := self._graphs.get(scope)) is None or graph.index.ndim != vector.size:
                    graph = self._graphs[scope] = _Graph(vector.size)
                self._graphs.move_to_end(scope)
                graph.add(addition, vector, self._max_elements)
            while len(self._graphs) > self._max_scopes:
                self._graphs.popitem(last=False)
            await asyncio.sleep(0)
