"""Rate limits that gateways share through Redis; its trouble costs a few milliseconds, and nothing once it is known."""

import asyncio
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.breaker import Breaker
from gateway.caller import Rate
from gateway.metrics import Metrics
from gateway.redis_pool import WARM_CONNECTIONS, connections

log = logging.getLogger(__name__)

TIMEOUT_S = 0.01
PROBE_EVERY_S = 2.0
PREFIX = "retort:rate:"

# `rate_limit.decide` in microseconds of Redis' own clock, so that gateways with different clocks agree. Redis runs a
# script whole before anything else, and the key ends with the moment from which the bucket is full anyway.
TAKE = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local every_us, span_us = tonumber(ARGV[1]), tonumber(ARGV[2])
local function keep(at_us)
  redis.call('SET', KEYS[1], string.format('%.0f', at_us), 'PX', math.ceil((at_us - now_us) / 1000) + 1)
end
local full_at_us = tonumber(redis.call('GET', KEYS[1]) or 0)
if full_at_us > now_us + span_us then
  full_at_us = now_us + span_us
  keep(full_at_us)
end
local pushed_us = math.max(now_us, full_at_us) + every_us
local wait_us = pushed_us - now_us - span_us
if wait_us > 0 then return math.ceil(wait_us) end
keep(pushed_us)
return 0
"""


class RedisBuckets:
    """Made anywhere, used on the running loop; `watch` for ever beside it, `close` at the end."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._redis = Redis(connection_pool=connections(url))
        self._script = self._redis.register_script(TAKE)
        self._breaker, self._metrics = Breaker(), metrics

    @property
    def state(self) -> str:
        """For people: whether Redis counts now."""
        return "breaker open" if self._breaker.is_open else "in use"

    async def take(self, name: str, rate: Rate) -> float | None:
        """Return for how many seconds a request must wait, 0 when it may pass, None when Redis does not say."""
        if self._breaker.is_open:
            return None
        every_us = 1e6 / rate.per_s
        try:
            async with asyncio.timeout(TIMEOUT_S):
                wait_us = await self._script(keys=[PREFIX + name], args=[every_us, every_us * rate.burst])
        except (RedisError, OSError) as error:
            self._failed(error)
            return None
        self._breaker.answered()
        return int(wait_us) / 1e6

    async def watch(self) -> None:
        """Keep connections open, and find out when a Redis that was left alone is back."""
        while True:
            try:
                await asyncio.gather(*(self._redis.ping() for _ in range(WARM_CONNECTIONS)))
            except (RedisError, OSError) as error:
                self._failed(error)
            else:
                if self._breaker.is_open:
                    log.info("Redis answers: rate limits are shared again")
                self._breaker.answered()
            await asyncio.sleep(self._breaker.probe_in_s(PROBE_EVERY_S))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _failed(self, error: Exception) -> None:
        self._metrics.redis_errors.inc()
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            log.warning("Redis does not answer (%s): each gateway limits rates alone", type(error).__name__)
