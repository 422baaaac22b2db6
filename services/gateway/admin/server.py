"""The admin server: a second uvicorn on the gateway's event loop, on a socket of its own."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class AdminServer(uvicorn.Server):
    """Listens between `start` and `stop`; signals are the gateway's own server's business."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen."""
        self._task = asyncio.create_task(self.serve(sockets=[self._listener]))

    async def stop(self, grace_s: float) -> None:
        """Take no more requests; those in flight have `grace_s` to end."""
        self.config.timeout_graceful_shutdown = int(grace_s)
        self.should_exit = True
        if self._task is not None:
            await self._task

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
