"""The event loop: uvloop's, whose servers give a TLS handshake no more time than a request's head."""

import asyncio
from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """asyncio waits 60 s for a handshake, and uvicorn has no setting that reaches it."""

    def __init__(self, handshake_timeout_s: float) -> None:
        super().__init__()
        self._handshake_timeout_s = handshake_timeout_s

    async def create_server(  # type: ignore[override]  # whatever it is asked, it passes on
        self, *arguments: Any, **options: Any
    ) -> asyncio.AbstractServer:
        """Listen as asyncio does; with a certificate, for so long to each client's handshake."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", self._handshake_timeout_s)
        return await super().create_server(*arguments, **options)
