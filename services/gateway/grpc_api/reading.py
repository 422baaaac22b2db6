"""The message of a gRPC call, read by hand: gRPC itself answers a broken one with UNKNOWN and a missing one never."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from gateway import grpc_errors
from gateway.errors import InvalidRequestError, RequestError, SlowRequestError
from gateway.grpc_api.strangers import Strangers
from gateway.grpc_api.sturdy import SturdyServer

Decode = Callable[[bytes], Any]


async def read_message(context: Any, decode: Decode, deadline_s: float) -> Any:
    """Return the first message of a call; raises InvalidRequestError or SlowRequestError."""
    task, late = asyncio.current_task(), False

    def give_up() -> None:
        nonlocal late
        late = True
        if task is not None:
            task.cancel()

    # Not asyncio.timeout, which costs ten times as much; mostly the message is there already.
    timer = asyncio.get_running_loop().call_later(deadline_s - time.monotonic(), give_up)
    try:
        raw = await context.read()
    except asyncio.CancelledError:
        if not late or task is None:
            raise
        task.uncancel()  # the cancellation was ours and ends here
        raise SlowRequestError("the message of the call did not arrive within its deadline") from None
    finally:
        timer.cancel()
    if raw is grpc.aio.EOF:
        raise InvalidRequestError("the call ended without a whole message")
    return _decoded(raw, decode)


async def read_stranger(context: Any, decode: Decode, deadline_s: float, strangers: Strangers) -> Any:
    """Return the first message of a call that needs no key; raises as `read_message`."""
    with strangers.awaited() as patience_s:
        return await read_message(context, decode, min(deadline_s, patience_s))


class CarefulServer:
    """Stands in for the gRPC server while the services of others register: their messages are read by hand too."""

    def __init__(self, server: SturdyServer, strangers: Strangers) -> None:
        self._server, self._strangers = server, strangers

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What generated code calls besides: the same methods again."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register the methods of a service."""
        careful = {name: _careful(handler, self._strangers) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, careful)


def _careful(handler: Any, strangers: Strangers) -> "grpc.RpcMethodHandler[Any, Any]":
    decode, encode = handler.request_deserializer, handler.response_serializer

    async def one(_: Any, context: Any) -> Any:
        try:
            request = await read_stranger(context, decode, math.inf, strangers)
        except RequestError as error:
            await _abort(context, error)
        return await (handler.unary_stream or handler.unary_unary)(request, context)

    async def several(_: Any, context: Any) -> None:
        try:
            async for answer in handler.stream_stream(_messages(context, decode, strangers), context):
                await context.write(answer)
        except RequestError as error:
            await _abort(context, error)

    async def stream(_: Any, context: Any) -> None:
        await strangers.stream(context, several if handler.request_streaming else one)

    if handler.request_streaming or handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=encode)
    return grpc.stream_unary_rpc_method_handler(one, response_serializer=encode)


async def _messages(context: Any, decode: Decode, strangers: Strangers) -> AsyncIterator[Any]:
    yield await read_stranger(context, decode, math.inf, strangers)
    while (raw := await context.read()) is not grpc.aio.EOF:
        yield _decoded(raw, decode)


def _decoded(raw: bytes, decode: Decode) -> Any:
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidRequestError(f"the message cannot be read: {str(error)[:200]}") from None


async def _abort(context: Any, error: RequestError) -> None:
    await context.abort(grpc_errors.STATUS[type(error)], str(error), grpc_errors.metadata(error))
