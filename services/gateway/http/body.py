"""The body of a request on its way in: bounded in bytes and time; afterwards a watch for callers that leave."""

import asyncio
import time

from starlette.types import Message, Receive

from gateway.errors import SlowRequestError, TooLargeError
from gateway.http.encoding import decoder

# A task that listens for the disconnect costs 20 us; most answers are out before it would be needed.
WATCH_AFTER_S = 0.02


class Body:
    """Wraps `receive` of one request; `close()` when the request is over. Raises UnsupportedEncodingError.

    One timer a request, and mostly it never fires: before the body is complete it bounds the wait for it, afterwards
    it starts the watch. (asyncio.timeout around each `receive` cost 15 us a request.)
    """

    def __init__(self, receive: Receive, *, max_bytes: int, deadline_s: float, encoding: bytes | None = None) -> None:
        self._decoder = decoder(encoding, max_bytes)
        self._receive, self._max_bytes, self._deadline_s = receive, max_bytes, deadline_s
        self._bytes = 0
        self._complete = self._reading = self._late = False
        self._watcher: asyncio.Task[None] | None = None
        self._request_task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(min(WATCH_AFTER_S, self._left_s()), self._look)
        self.abandoned = False

    async def receive(self) -> Message:
        """Return the next message, decoded; raises TooLargeError, SlowRequestError or InvalidRequestError."""
        self._reading = True
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if not self._late or self._request_task is None:
                raise
            self._request_task.uncancel()  # the cancellation was ours and ends here
            raise SlowRequestError("the body of the request did not arrive within its deadline") from None
        self._reading = False
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            raise TooLargeError(f"the body is larger than the {self._max_bytes} bytes that the gateway reads")
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            if self._decoder is not None:
                decoded = self._decoder.decode(message.get("body", b""), last=self._complete)
                return {**message, "body": decoded}
        return message

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self.abandoned and self._request_task is not None:
            self._request_task.uncancel()  # the cancellation was ours and ends here

    def _left_s(self) -> float:
        return max(0.0, self._deadline_s - time.monotonic())

    def _look(self) -> None:
        """The first answer is late or the body is: watch for the caller, or see to the deadline."""
        loop = asyncio.get_running_loop()
        if self._complete:
            self._watcher = loop.create_task(self._watch())
        elif left_s := self._left_s():
            self._timer = loop.call_later(min(WATCH_AFTER_S, left_s), self._look)
        elif self._reading and self._request_task is not None:
            self._late = True
            self._request_task.cancel()

    async def _watch(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._request_task is not None:
            self.abandoned = True
            self._request_task.cancel()
