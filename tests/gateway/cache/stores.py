"""Stores for tests: a Redis store that is watched, an index of this process, and things to put in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from gateway.cache.entry import Entry, Floats
from gateway.cache.index import LocalIndex
from gateway.cache.redis_store import RedisStore
from gateway.cache.scope import Scope, Selection
from gateway.cache.store import Addition, Query, Store
from gateway.metrics import Metrics

WIDTH = 32
LABELS = 5
SCOPE = Scope("tiny", "sha256:" + "a" * 64, "alice")


@dataclass
class Watched:
    """A Redis store with what it told and counted."""

    store: RedisStore
    local: LocalIndex
    metrics: Metrics
    forgotten: list[Selection] = field(default_factory=list)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 when it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def local_index(metrics: Metrics | None = None, *, max_elements: int = 1000, max_scopes: int = 100) -> LocalIndex:
    """An index of this process."""
    return LocalIndex(metrics or Metrics(), max_elements=max_elements, max_scopes=max_scopes)


@asynccontextmanager
async def redis_store(
    port: int, password: str = "", *, ttl_s: float = 60.0, max_elements: int = 1000, wait: bool = True
) -> AsyncIterator[Watched]:
    """A store that watches its Redis; `wait`: until it uses it."""
    metrics, forgotten = Metrics(), list[Selection]()
    local = local_index(metrics, max_elements=max_elements)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    store = RedisStore(url, metrics, local, forgotten.append, ttl_s=ttl_s, max_elements=max_elements)
    watching = asyncio.create_task(store.watch())
    try:
        if wait:
            await until(lambda: store.state != "away")
        yield Watched(store, local, metrics, forgotten)
        assert not watching.done()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await store.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # a state of another process, not an event
            await asyncio.sleep(0.005)


def entry(seed: int) -> Entry:
    """An entry whose numbers are all its own."""
    logits = np.random.default_rng(seed).normal(size=LABELS).astype(np.float32)
    return Entry(int(logits.argmax()), float(logits.max()) / 3, logits)


def vector(seed: int, width: int = WIDTH) -> Floats:
    """A vector that has little to do with any other."""
    return np.random.default_rng(seed).normal(size=width).astype(np.float32)


def key(seed: int) -> bytes:
    """A key with the bytes that texts would stumble over."""
    return b"\x00\n:" + seed.to_bytes(4, "big") + b"\xff"


def addition(seed: int) -> Addition:
    """An answer with its vector."""
    return Addition(key(seed), entry(seed), vector(seed))


async def fill(store: Store, scope: Scope, *seeds: int) -> None:
    """Add answers and wait until they are in."""
    store.add(scope, [addition(seed) for seed in seeds])
    await store.settled()


async def nearest(store: Store, scope: Scope, wanted: Floats) -> list[tuple[int | None, float]]:
    """Label and similarity of the neighbours."""
    (found,) = await store.look_up(scope, [Query(key(10**6), wanted)])
    return [(neighbour.entry.label, neighbour.similarity) for neighbour in found.neighbours]


def same(one: Entry | None, other: Entry) -> bool:
    """Whether an entry is, to the last bit, the other."""
    return one == other and one is not None and one.logits.tobytes() == other.logits.tobytes()
