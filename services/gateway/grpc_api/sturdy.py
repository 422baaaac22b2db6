"""A gRPC server that no method's name can stop: a path that is not UTF-8 ends the loop of gRPC's own, for good."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _server


class SturdyServer(_server.Server):
    """As `grpc.aio.server()`, for registered methods only; whatever else is called is UNIMPLEMENTED.

    grpcio 1.85 decodes the path of every call outside of any `try`. One call to `/\\xff` raised UnicodeDecodeError
    there, the server shut down, and nobody was told. Registered methods come without their path. For the rest there is
    no public place to step in, hence the private names: tests/gateway/grpc_api/test_sturdy.py fails when they change.
    """

    def __init__(self, options: list[tuple[str, Any]], maximum_concurrent_rpcs: int) -> None:
        super().__init__(None, (), None, (), None, None)
        self._server = _Core(self._loop, None, (), None, options, maximum_concurrent_rpcs)


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # untyped
    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Return the next call of a registered method; for the others (None) a future that ends with the server."""
        if method is None:
            return asyncio.get_running_loop().create_task(self._refuse_others())
        future: asyncio.Future[Any] = super()._make_request_call_future(method)
        return future

    async def _refuse_others(self) -> None:
        refusals: set[asyncio.Task[None]] = set()
        while True:  # until the server shuts down, which makes the request raise
            refusal = asyncio.create_task(_refuse(await self._request_call()))
            refusals.add(refusal)
            refusal.add_done_callback(refusals.discard)


async def _refuse(state: Any) -> None:
    context = cygrpc._ServicerContext(state, None, None, asyncio.get_running_loop())  # noqa: SLF001
    # BaseError: the caller may be gone.
    with suppress(grpc.aio.AbortError, grpc.aio.BaseError):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is not served; reflection lists those that are")
