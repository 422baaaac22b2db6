"""The body of a request on its way in: bounded in bytes and time; afterwards a watch for callers that leave."""

import asyncio
import time

from starlette.types import Message, Receive

from gateway.errors import SlowRequestError, TooLargeError

# A task that listens for the disconnect costs 20 us; most answers are out before it would be needed.
WATCH_AFTER_S = 0.02


class Body:
    """Wraps `receive` of one request; `close()` when the request is over."""

    def __init__(self, receive: Receive, *, max_bytes: int, deadline_s: float) -> None:
        self._receive, self._max_bytes, self._deadline_s = receive, max_bytes, deadline_s
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._request_task = asyncio.current_task()
        self.abandoned = False

    async def receive(self) -> Message:
        """Return the next message; raises TooLargeError or SlowRequestError."""
        try:
            async with asyncio.timeout(max(0.0, self._deadline_s - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise SlowRequestError("the body of the request did not arrive within its deadline") from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            raise TooLargeError(f"the body is larger than the {self._max_bytes} bytes that the gateway reads")
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start_watching)
        return message

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self.abandoned and self._request_task is not None:
            self._request_task.uncancel()  # the cancellation was ours and ends here

    def _start_watching(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._request_task is not None:
            self.abandoned = True
            self._request_task.cancel()
