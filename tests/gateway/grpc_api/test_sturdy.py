"""The server that no path can stop."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.grpc_api.sturdy import SturdyServer
from tests.gateway import http2


async def echo(request: bytes, _: object) -> bytes:
    """Answer what was asked."""
    return request


async def test_no_path_ends_it_and_unknown_ones_are_unimplemented() -> None:
    server = SturdyServer([("grpc.so_reuseport", 0)], 100)
    server.add_registered_method_handlers("s", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        for path in (b"/s/\xff", b"\xff", b"/s/Nope", b"", b"/nope"):
            sent = http2.call(path, http2.prefixed(b"a"))
            assert await asyncio.to_thread(http2.ask, port, sent, 3) == http2.Ending(12, "status"), path
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask: Any = channel.unary_unary("/s/Echo")
            ask_other: Any = channel.unary_unary("/s/Other")
            assert await ask(b"a", timeout=3) == b"a"
            with pytest.raises(grpc.aio.AioRpcError, match="reflection lists"):
                await ask_other(b"a", timeout=3)
    finally:
        async with asyncio.timeout(5):
            await server.stop(0)
