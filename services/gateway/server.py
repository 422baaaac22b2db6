"""The server: uvicorn that fails /readyz first, then drains, then closes."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import Sequence
from types import FrameType
from typing import Protocol

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from gateway.lifecycle import Lifecycle

# A request leaves some hundred objects, hardly ever a cycle; the default of 700 had the collector run for every few.
GC_THRESHOLDS = (20_000, 20, 20)
CLOSE = (b"connection", b"close")


class Door(Protocol):
    """A further server on the same event loop."""

    async def start(self) -> None:
        """Listen."""

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those in flight have `grace_s` to end."""


class DrainingServer(uvicorn.Server):
    """On SIGTERM keeps answering for `drain_s` while /readyz fails, so that load balancers look away first.

    These answers close their connections: one that is kept would stay with this process, and be closed under a request.
    SIGINT (somebody at a keyboard) and a second signal close at once. Ends normally, with exit status 0.
    """

    def __init__(self, config: uvicorn.Config, doors: Sequence[Door], lifecycle: Lifecycle, drain_s: float) -> None:
        super().__init__(config)
        self._doors, self._lifecycle, self._drain_s = doors, lifecycle, drain_s
        self._close_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Begin to drain; close at once when asked twice or by Ctrl-C."""
        self._lifecycle.drain()
        again = self._close_at_s is not None
        if not again:  # uvicorn makes the second from the first, every second
            self.config.encoded_headers.append(CLOSE)
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        wait_s = 0.0 if again or sig == signal.SIGINT else self._drain_s
        self._close_at_s = time.monotonic() + wait_s
        if again:
            self.force_exit = self.should_exit
        if not wait_s:
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open every door, the others when the application is up. Raises SettingsError when a port is taken."""
        await super().startup(sockets)
        if self.started:
            for door in self._doors:
                await door.start()
            _settle()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every door within one grace, then end the application, which takes the way to Triton with it."""
        grace_s = 0 if self.force_exit else float(self.config.timeout_graceful_shutdown or 0)
        lifespan, self.lifespan = self.lifespan, LifespanOff(self.config)  # uvicorn would end it with its own door
        await asyncio.gather(super().shutdown(sockets), *(door.stop(grace_s) for door in self._doors))
        if not self.force_exit:
            await lifespan.shutdown()

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second: whether to close now."""
        if self._close_at_s is not None and time.monotonic() >= self._close_at_s:
            self.should_exit = True
        return bool(await super().on_tick(counter))


def _settle() -> None:
    """Keep the garbage collector off what was made at start: walking it took a tenth of the time under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
