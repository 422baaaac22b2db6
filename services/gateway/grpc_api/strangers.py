"""Strangers: gRPC calls that need no key, kept from taking the places of those that have one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from gateway import grpc_errors
from gateway.errors import OverloadedError
from gateway.metrics import Metrics

MAX_STREAMS = 64  # of health and reflection, open at once
STREAM_LIFE_S = 300.0  # then a client that still wants to know opens another
MAX_PATIENT = 64  # calls whose message is waited for at leisure; a longer queue moves on quickly
HASTE_S = 0.1


class Strangers:
    """Bounds what they hold: streams in number and time, calls without a message in time."""

    def __init__(self, metrics: Metrics, wait_s: float, stream_life_s: float = STREAM_LIFE_S) -> None:
        self._refused = metrics.shed.labels("streams")
        self._wait_s, self._stream_life_s = wait_s, stream_life_s
        self._awaited = 0
        self._streams: set[asyncio.Timeout] = set()

    @contextmanager
    def awaited(self) -> Iterator[float]:
        """While a call's message is waited for; yields until when, in time.monotonic()."""
        self._awaited += 1
        try:
            yield time.monotonic() + (self._wait_s if self._awaited <= MAX_PATIENT else HASTE_S)
        finally:
            self._awaited -= 1

    async def stream(self, context: Any, handle: Callable[[None, Any], Awaitable[None]]) -> None:
        """Let a stream live for a while, if there are not too many."""
        if len(self._streams) >= MAX_STREAMS:
            self._refused.inc()
            error = OverloadedError("too many streams of health and reflection are open; ask Check, or come back later")
            await context.abort(grpc_errors.STATUS[type(error)], str(error), grpc_errors.metadata(error))
        try:
            async with asyncio.timeout(self._stream_life_s) as life:
                self._streams.add(life)
                try:
                    await handle(None, context)
                finally:
                    self._streams.discard(life)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the time of this stream is up; open another")

    def close(self) -> None:
        """End the streams: they would hold up a server that waits for calls in flight."""
        now_s = asyncio.get_running_loop().time()
        for life in self._streams:
            if not life.expired():
                life.reschedule(now_s)
