"""Invalidation: what one gateway forgets, all forget within a second. Redis keeps the list, messages only hurry it."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from gateway.cache.epochs import Epochs, decode, encode
from gateway.cache.redis_link import TROUBLE, RedisLink, heed_cancellation
from gateway.cache.redis_names import CHANNEL, EPOCHS, TEXTS
from gateway.cache.scope import Selection

log = logging.getLogger(__name__)

POLL_S = 0.5  # a lost message is made up for within this time
STALE_S = 2.0  # without a look at the list for so long, Redis' entries are not used: they may have been forgotten
TEXTS_KEPT_S = 3600
FORGET_AFTER_S = TEXTS_KEPT_S / 2  # away for longer, a gateway may have missed texts: it forgets everything
AGAIN_S = 0.25
LISTEN_S = 30.0
LISTEN_AGAIN_S = 0.5

# A number that nobody has seen yet, by Redis' clock so that it also grows over a restart, for one selection.
ANNOUNCE = """
local now = redis.call('TIME')
local epoch = math.max(now[1] * 1000 + math.floor(now[2] / 1000), ARGV[3] + 1)
for _, name in ipairs(KEYS) do
  local top = redis.call('ZREVRANGE', name, 0, 0, 'WITHSCORES')
  if top[2] then epoch = math.max(epoch, top[2] + 1) end
end
redis.call('ZADD', KEYS[tonumber(ARGV[1])], string.format('%.0f', epoch), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', epoch - ARGV[4]))
redis.call('PUBLISH', ARGV[5], '')
return string.format('%.0f', epoch)
"""


class Invalidation:
    """Keeps one gateway's epochs those of all; `forget` is called with what others forgot."""

    def __init__(self, link: RedisLink, epochs: Epochs, forget: Callable[[Selection], None]) -> None:
        self._link, self._epochs, self._forget = link, epochs, forget
        self._seen_epochs: object = None
        self._seen_text = 0
        self._polled_s = float("-inf")
        self._in_touch_s = time.monotonic()
        self._untold: list[Selection] = []
        self._woken = asyncio.Event()

    @property
    def is_current(self) -> bool:
        """Whether the epochs are known to be those of all."""
        return time.monotonic() - self._polled_s < STALE_S

    async def announce(self, selection: Selection) -> bool:
        """Forget here, and tell everybody; False when Redis could not be told: it will be, once it answers."""
        which = 1 if selection.key is None else 2
        arguments = (which, encode(selection), self._epochs.latest, TEXTS_KEPT_S * 1000, CHANNEL)
        answers = await self._link.work([("EVAL", ANNOUNCE, 2, EPOCHS, TEXTS, *arguments)])
        epoch = _number(answers[0]) if answers else None
        if selection.key is None:
            now_ms = int(time.time() * 1000)
            self._epochs.merge({selection: epoch or max(now_ms, self._epochs.latest + 1)})
            self._seen_epochs = None  # the next look compares with Redis, which may have lost it again
        elif epoch is None:
            self._untold.append(selection)
        self._forget_twice(selection)
        return epoch is not None

    async def poll(self) -> bool:
        """Look at the list and forget what is new; False when that was not possible."""
        answers = await self._link.work(
            [("ZCARD", EPOCHS), ("ZREVRANGE", EPOCHS, 0, 0, "WITHSCORES"), ("ZREVRANGE", TEXTS, 0, 0, "WITHSCORES")]
        )
        if answers is None or any(isinstance(answer, Exception) for answer in answers):
            return False
        size, last_epoch, last_text = answers
        if self._seen_epochs != (size, last_epoch) and not await self._read_epochs((size, last_epoch)):
            return False
        if (text := _number(last_text[1]) or 0 if last_text else 0) != self._seen_text:
            await self._read_texts(text)
        now_s = time.monotonic()
        if now_s - self._in_touch_s > FORGET_AFTER_S:
            self._forget(Selection())
        self._polled_s = self._in_touch_s = now_s
        untold, self._untold = self._untold, []
        for selection in untold:
            await self.announce(selection)
        return True

    async def wait(self, timeout_s: float) -> None:
        """Wait for a message, so long at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()

    async def listen(self) -> None:
        """Wake `wait` at every message, for ever."""
        while True:
            listener = self._link.listener()
            try:
                await listener.subscribe(CHANNEL)
                while True:
                    heed_cancellation()
                    if await listener.get_message(timeout=LISTEN_S) is not None:
                        self._woken.set()
            except TROUBLE as error:
                log.debug("no messages from Redis (%s)", type(error).__name__)  # whoever polls says it aloud
            finally:
                await listener.aclose()  # type: ignore[no-untyped-call]  # redis-py's
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _forget_twice(self, selection: Selection) -> None:
        """Now and soon again: a request may hold what it read from Redis a moment ago, and then keep it here."""
        self._forget(selection)
        asyncio.get_running_loop().call_later(AGAIN_S, self._forget, selection)

    async def _read_epochs(self, seen: object) -> bool:
        answers = await self._link.work([("ZRANGE", EPOCHS, 0, -1, "WITHSCORES")])
        if answers is None or isinstance(answers[0], Exception):
            return False
        table = _table(answers[0])
        for selection in self._epochs.merge(table):
            self._forget_twice(selection)
        self._seen_epochs = seen
        if lost := self._epochs.lacking(table):  # Redis was emptied, or came back without its last second
            pairs = [part for selection, epoch in lost.items() for part in (epoch, encode(selection))]
            self._seen_epochs = None
            return await self._link.work([("ZADD", EPOCHS, "GT", *pairs)]) is not None
        return True

    async def _read_texts(self, last: int) -> None:
        since = f"({self._seen_text}" if last > self._seen_text else "-inf"
        answers = await self._link.work([("ZRANGEBYSCORE", TEXTS, since, "+inf", "WITHSCORES")])
        if answers is not None and not isinstance(answers[0], Exception):
            for selection in _table(answers[0]):
                self._forget_twice(selection)
            self._seen_text = last


def _number(answer: Any) -> int | None:
    """Return a score or an epoch as Redis writes it."""
    try:
        return int(float(answer))
    except (ValueError, TypeError, OverflowError):
        return None


def _table(answer: Any) -> dict[Selection, int]:
    """Return the members that are selections, each with its score."""
    flat = answer if isinstance(answer, list) else []
    found = ((decode(member), _number(score)) for member, score in zip(flat[::2], flat[1::2], strict=False))
    return {selection: epoch for selection, epoch in found if selection is not None and epoch is not None}
