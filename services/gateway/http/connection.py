"""One HTTP connection: uvicorn's, with a bounded time and size for a request's head, and one system call an answer."""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http import secure_headers

BAD = b"400 Bad Request"
TOO_LATE = b"408 Request Timeout"
TOO_LARGE = b"431 Request Header Fields Too Large"
TOO_MANY = b"503 Service Unavailable\r\nretry-after: 1"
BESIDES_NAME_AND_VALUE = len(b": \r\n")
CLOSING = ((b"content-length", b"0"), (b"connection", b"close"))


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How long a client may take for a request's head, from its first byte (or the connection) on, and its size.

    `max_connections`: so many may be open at once.
    """

    timeout_s: float
    max_bytes: int
    max_connections: int


class Connection(HttpToolsProtocol):
    """uvicorn has neither limit: a client that sends a header line a minute would hold its connection for ever."""

    def __init__(self, *arguments: Any, limits: HeadLimits, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limits = limits
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # stands in for the transport
        self._expect_head()
        # uvicorn's limit_concurrency refuses requests and lets connections pile up.
        if len(self.connections) > self._limits.max_connections:
            self._refuse(TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; give up on a head that grows too large.

        What came in one segment with the end of another request is not counted: where it began, nobody knows.
        """
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.max_bytes:
            self._refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        if not self._in_head:  # on a connection that was kept alive; a new one is counted from its beginning
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is there, and its size known."""
        self._stop_timer()
        self._in_head = False
        size = len(self.url) + sum([len(name) + len(value) + BESIDES_NAME_AND_VALUE for name, value in self.headers])
        if size > self._limits.max_bytes:
            self._refuse(TOO_LARGE)
            raise ValueError("head too large")  # the parser stops; uvicorn's answer to that finds a closed connection
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's signature and its name
        """Refuse what is no HTTP."""
        self._refuse(BAD)

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(self._limits.timeout_s, self._refuse, TOO_LATE)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _refuse(self, status: bytes) -> None:
        """Close, and say why unless that would land in the answer to another request."""
        self._stop_timer()
        if not self.transport.is_closing():
            if self._is_free_to_answer():
                headers = [*self.server_state.default_headers, *secure_headers.API, *CLOSING]
                lines = b"".join([b"%b: %b\r\n" % header for header in headers])
                self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n" % (status, lines))
            self.transport.close()

    def _is_free_to_answer(self) -> bool:
        """Whether the next answer on this connection belongs to the request that is being read."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline


class Corked:
    """A transport that sends what one turn of the loop wrote at once: uvicorn writes head and body apart."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Hold the data until this turn of the loop ends."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            if not self._transport.is_closing():
                self._transport.write(data)
