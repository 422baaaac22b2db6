"""The store in Redis: exact entries and vector sets, asked once a call, and out of the way when Redis has trouble."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from gateway.cache import redis_names
from gateway.cache.entry import pack
from gateway.cache.epochs import Epochs
from gateway.cache.index import LocalIndex
from gateway.cache.invalidation import POLL_S, Invalidation
from gateway.cache.redis_link import TIMEOUT_S, Command, RedisLink
from gateway.cache.redis_lookup import Lookup
from gateway.cache.redis_names import SCOPES, Names
from gateway.cache.redis_writer import RedisWriter, Writing
from gateway.cache.scope import Scope, Selection
from gateway.cache.store import NOTHING, Addition, Found, Query, has_direction
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

SEARCH_S = 0.001  # that each search may take beside the question itself
MAX_REMEMBERED = 4096


class RedisStore:
    """Made anywhere, used on the running loop; `watch` for ever beside it, `close` at the end.

    `forget` is called with what any gateway forgets. On a Redis without vector sets `local` keeps the neighbours.
    """

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        local: LocalIndex,
        forget: Callable[[Selection], None],
        *,
        ttl_s: float,
        max_elements: int,
    ) -> None:
        self._link = RedisLink(url, metrics)
        self._epochs, self._local, self._forget = Epochs(), local, forget
        self._invalidation = Invalidation(self._link, self._epochs, self._forgotten)
        self._writer = RedisWriter(self._link, metrics, ttl_s=ttl_s, max_elements=max_elements)
        self._names: dict[tuple[Scope, int], Names] = {}
        self._version: tuple[int, ...] = ()
        self._has_vector_sets = False
        self._metrics, self._ttl_s = metrics, ttl_s

    @property
    def state(self) -> str:
        """For people: what Redis does for the cache now."""
        if not self._is_usable:
            return "away"
        return "exact and semantic" if self._has_vector_sets else "exact; semantic per process"

    async def look_up(self, scope: Scope, queries: Sequence[Query]) -> list[Found]:
        """Return what is known about each query: one round trip, or nothing when that takes too long."""
        found = await self._ask(scope, queries) if self._is_usable else [NOTHING] * len(queries)
        if self._has_vector_sets:
            return found
        nearby = await self._local.look_up(scope, queries)
        return [Found(shared.exact, local.neighbours) for shared, local in zip(found, nearby, strict=True)]

    def add(self, scope: Scope, additions: Sequence[Addition]) -> None:
        """Queue answers for Redis."""
        if not self._has_vector_sets:
            self._local.add(scope, additions)
        names, member = self._names_of(scope), redis_names.encode(scope)
        for addition in additions:
            vector = addition.vector if self._has_vector_sets else None
            if vector is not None and not has_direction(vector):
                vector = None
            value = pack(addition.entry, scope.place(addition.key))
            self._writer.put(Writing(names, member, addition.key, value, vector))

    async def settled(self) -> None:
        """Wait until everything added so far is in Redis, or dropped."""
        await self._writer.settled()
        await self._local.settled()

    async def count(self, selection: Selection) -> int | None:
        """Return how many elements of vector sets `forget` would forget; None when Redis does not say."""
        if not self._has_vector_sets:
            return await self._local.count(selection)
        if (scopes := await self._scopes(selection)) is None:
            return None
        sets = [self._names_of(scope).vectors for scope in scopes]
        if selection.key is None:
            commands: list[Command] = [("VCARD", name) for name in sets]
        else:
            commands = [("VISMEMBER", name, selection.key) for name in sets]
        answers = await self._link.work(commands) if commands else []
        return None if answers is None else sum(answer for answer in answers if isinstance(answer, int))

    async def forget(self, selection: Selection) -> bool:
        """Forget entries here, in Redis and in every gateway; False: Redis will tell the others when it is back.

        The names of whole scopes change, so their entries are out of reach at once, without a scan; the sets are
        removed, the exact entries end with their time to live. One text's entries are removed first.
        """
        scopes = await self._scopes(selection) or []
        removals = [command for scope in scopes for command in self._removals(scope, selection.key)]
        if selection.key is not None:
            removed = not removals or await self._link.work(removals) is not None
            return await self._invalidation.announce(selection) and removed
        told = await self._invalidation.announce(selection)
        if removals:
            await self._link.work(removals)
        return told

    async def watch(self) -> None:
        """Write, listen, and look after the link, for ever."""
        await asyncio.gather(self._writer.run(), self._invalidation.listen(), self._look_after())

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()

    @property
    def _is_usable(self) -> bool:
        return not self._link.is_open and self._invalidation.is_current

    def _forgotten(self, selection: Selection) -> None:
        self._local.drop(selection)
        self._forget(selection)

    def _names_of(self, scope: Scope) -> Names:
        place = (scope, self._epochs.of(scope))
        if (names := self._names.get(place)) is None:
            if len(self._names) >= MAX_REMEMBERED:
                self._names.clear()
            names = self._names[place] = Names.of(*place)
        return names

    async def _ask(self, scope: Scope, queries: Sequence[Query]) -> list[Found]:
        version = self._version if self._has_vector_sets else None
        lookup = Lookup.of(scope, self._names_of(scope), queries, version, self._malformed)
        answers = await self._link.ask(lookup.commands(), TIMEOUT_S + SEARCH_S * len(lookup.searched))
        if answers is not None and (commands := lookup.attribute_commands(answers)):
            values = await self._link.ask(commands)
            answers = None if values is None else lookup.with_values(answers, values)
        return [NOTHING] * len(queries) if answers is None else lookup.found(answers)

    def _malformed(self, tier: str) -> None:
        self._metrics.cache_malformed.labels(tier).inc()

    async def _scopes(self, selection: Selection) -> list[Scope] | None:
        """Return the scopes of the selection: those that have a vector set, and the one that is named outright."""
        ended_ms = int(1000 * (time.time() - 2 * self._ttl_s))
        answers = await self._link.work([("ZREMRANGEBYSCORE", SCOPES, "-inf", ended_ms), ("ZRANGE", SCOPES, 0, -1)])
        if answers is None or not isinstance(answers[1], list):
            return None
        scopes = {scope for member in answers[1] if (scope := redis_names.decode(member)) is not None}
        if selection.model is not None and selection.digest is not None and selection.tenant is not None:
            scopes.add(Scope(selection.model, selection.digest, selection.tenant))
        return [scope for scope in scopes if selection.covers(scope)]

    def _removals(self, scope: Scope, key: bytes | None) -> list[Command]:
        names = self._names_of(scope)
        if key is None:
            return [("UNLINK", names.vectors), ("ZREM", SCOPES, redis_names.encode(scope))]
        return [("UNLINK", names.exact(key)), ("VREM", names.vectors, key)]

    async def _look_after(self) -> None:
        while True:
            if not await self._learn() or not await self._invalidation.poll():
                self._link.failed()
            else:
                await self._link.probe()
            await self._invalidation.wait(self._link.probe_in_s(POLL_S))

    async def _learn(self) -> bool:
        """Find out, at first and after trouble, what this Redis can do; False when it does not say."""
        if self._version and not self._link.is_open:
            return True
        answers = await self._link.work([("INFO", "server"), ("VCARD", redis_names.PREFIX)])
        if answers is None:
            return False
        info, size = answers
        version = str(info.get("redis_version", "0")) if isinstance(info, dict) else "0"
        self._version = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) or (0,)
        has_vector_sets = isinstance(size, int)
        if has_vector_sets:
            self._local.drop(Selection())
            log.info("Redis %s has vector sets: gateways share the semantic cache", version)
        else:
            log.warning("Redis %s has no vector sets (8 has): the semantic cache is per process", version)
        self._has_vector_sets = has_vector_sets
        self._metrics.cache_vector_sets.set(has_vector_sets)
        return True
