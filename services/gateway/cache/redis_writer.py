"""The way into Redis: a bounded queue beside the requests, emptied a few answers a round trip."""

import asyncio
import time
from dataclasses import dataclass

from gateway.breaker import Breaker
from gateway.cache.entry import Floats
from gateway.cache.redis_link import Command, RedisLink
from gateway.cache.redis_names import SCOPES, Names
from gateway.metrics import Metrics

TIER = "redis"
MAX_QUEUE = 1024
# Redis answers nobody else while it works through one round trip, and a VADD takes 0.2 ms: few, so that look-ups wait
# for a millisecond at most.
TOGETHER = 4
BACK_OFF_S = 0.5
# How widely an insertion looks around; VADD's own default is 200. Half of it, at 10,000 x 256 in Q8, lost no recall and
# took a third less.
EXPLORED = 100


@dataclass(frozen=True, slots=True)
class Writing:
    """One answer with the names that it had when it was computed: what is forgotten meanwhile stays forgotten."""

    names: Names
    scope: bytes  # as a member of SCOPES
    key: bytes
    value: bytes
    vector: Floats | None


class RedisWriter:
    """Drops what does not fit, and what Redis refuses: a full, read-only or absent Redis is a cache that does not grow.

    A vector set that is over its cap loses random elements. Vector sets keep no order, and one of our own would cost
    memory and a write for every element; random ones live as long on average, and neither order knows which are used.
    """

    def __init__(self, link: RedisLink, metrics: Metrics, *, ttl_s: float, max_elements: int) -> None:
        self._link, self._max_elements = link, max_elements
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._queue: asyncio.Queue[Writing] = asyncio.Queue(MAX_QUEUE)
        self._breaker = Breaker()
        self._queue_full = metrics.cache_dropped.labels(TIER, "queue_full")
        self._redis_away = metrics.cache_dropped.labels(TIER, "redis_away")
        self._refused = metrics.cache_dropped.labels(TIER, "refused")

    def put(self, writing: Writing) -> None:
        """Queue an answer, or drop it; never waits."""
        if self._link.is_open:
            self._redis_away.inc()
            return
        try:
            self._queue.put_nowait(writing)
        except asyncio.QueueFull:
            self._queue_full.inc()

    async def settled(self) -> None:
        """Wait until the queue is empty."""
        await self._queue.join()

    async def run(self) -> None:
        """Empty the queue, for ever."""
        while True:
            writings = [await self._queue.get()]
            while len(writings) < TOGETHER and not self._queue.empty():
                writings.append(self._queue.get_nowait())
            try:
                written = await self._write(writings)
            finally:
                for _ in writings:
                    self._queue.task_done()
            if written:
                self._breaker.answered()
            else:
                self._breaker.failed()
                await asyncio.sleep(self._breaker.probe_in_s(BACK_OFF_S))

    async def _write(self, writings: list[Writing]) -> bool:
        now_ms = int(time.time() * 1000)
        commands: list[Command] = []
        for writing in writings:
            commands.append(("SET", writing.names.exact(writing.key), writing.value, "PX", self._ttl_ms))
            if writing.vector is not None:
                commands.append(_vadd(writing))
        sets = list(dict.fromkeys(writing.names.vectors for writing in writings if writing.vector is not None))
        commands += [("ZADD", SCOPES, now_ms, scope) for scope in {writing.scope for writing in writings}]
        commands += [("PEXPIRE", name, self._ttl_ms) for name in sets]
        commands += [("VCARD", name) for name in sets]
        answers = await self._link.work(commands)
        if answers is None:
            self._redis_away.inc(len(writings))
            return False
        if refused := sum(isinstance(answer, Exception) for answer in answers):
            self._refused.inc(min(refused, len(writings)))
            return False
        sizes = zip(sets, answers[-len(sets) :], strict=True) if sets else ()
        over = {name: size - self._max_elements for name, size in sizes if size > self._max_elements}
        return not over or await self._thin(over)

    async def _thin(self, over: dict[bytes, int]) -> bool:
        """Take elements out of sets that hold too many: at most twice what one round trip adds."""
        drawn = await self._link.work([("VRANDMEMBER", name, min(count, 2 * TOGETHER)) for name, count in over.items()])
        if drawn is None:
            return False
        removals: list[Command] = [
            ("VREM", name, element)
            for name, elements in zip(over, drawn, strict=True)
            if isinstance(elements, list)
            for element in elements
        ]
        return not removals or await self._link.work(removals) is not None


def _vadd(writing: Writing) -> Command:
    assert writing.vector is not None  # noqa: S101  # for mypy: only called with one
    vector = writing.vector.astype("<f4", copy=False).tobytes()
    options = ("Q8", "EF", EXPLORED, "SETATTR", writing.value)
    return ("VADD", writing.names.vectors, "FP32", vector, writing.key, *options)
