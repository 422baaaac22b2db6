"""The cache's link to Redis: one round trip a question, a few milliseconds at most, and silence while Redis is away."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from gateway.breaker import Breaker
from gateway.metrics import Metrics
from gateway.redis_pool import PATIENCE_S, WARM_CONNECTIONS, connections

log = logging.getLogger(__name__)

TIMEOUT_S = 0.008
# The last two are what redis-py's parser raises when whoever answers there does not speak Redis' language.
TROUBLE = (RedisError, OSError, ValueError, TypeError)

Command = tuple[Any, ...]


class RedisLink:
    """Answers are as Redis gives them; a command that Redis refused has its ResponseError among them."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._redis = Redis(connection_pool=connections(url))
        self._breaker, self._metrics = Breaker(), metrics
        self._trouble = "it refuses to be looked at"

    @property
    def is_open(self) -> bool:
        """Whether requests stay away from Redis."""
        return self._breaker.is_open

    async def ask(self, commands: Sequence[Command], timeout_s: float = TIMEOUT_S) -> list[Any] | None:
        """Ask on a request's path; None when Redis is away or too slow."""
        if self._breaker.is_open:
            return None
        if (answers := await self._send(commands, timeout_s)) is None:
            self.failed()
        else:
            self._breaker.answered()
        return answers

    async def work(self, commands: Sequence[Command]) -> list[Any] | None:
        """Ask with patience, where no request waits. Success says nothing about how a request would fare."""
        return await self._send(commands, PATIENCE_S)

    async def probe(self) -> None:
        """Open connections, then find out whether Redis answers as fast as a request wants it to."""
        if None in await asyncio.gather(*(self.work([("PING",)]) for _ in range(WARM_CONNECTIONS))):
            self.failed()
            return
        was_open = self._breaker.is_open
        if await self._send([("PING",)], TIMEOUT_S) is None:
            self.failed()
            return
        self._breaker.answered()
        if was_open:
            log.info("Redis answers: caches are shared again")

    def probe_in_s(self, every_s: float) -> float:
        """Return how long to wait before the next probe."""
        return self._breaker.probe_in_s(every_s)

    def failed(self) -> None:
        """Count a failure: from the third in a row on, requests stay away."""
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            log.warning("Redis does not answer (%s): each gateway caches alone", self._trouble)

    def listener(self) -> PubSub:
        """Return a connection for messages; raises when it is used."""
        return self._redis.pubsub(ignore_subscribe_messages=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _send(self, commands: Sequence[Command], timeout_s: float) -> list[Any] | None:
        cancellations = _cancellations()
        try:
            async with asyncio.timeout(timeout_s), self._redis.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
        except TROUBLE as error:
            self._metrics.redis_errors.inc()
            self._trouble = type(error).__name__
            answers = None
        heed_cancellation(cancellations)
        return answers


def heed_cancellation(before: int = 0) -> None:
    """Raise CancelledError when this task was cancelled and redis-py went on.

    It sends with `wait_for`, and that of Python 3.11 loses a cancellation that comes when it has just ended.
    """
    if _cancellations() > before:
        raise asyncio.CancelledError


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0
