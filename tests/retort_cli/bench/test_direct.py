"""The direct driver: it keeps calls in flight, and what a server refuses is an error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2

from retort_cli.bench.direct import Job, drive, request


@asynccontextmanager
async def server(*, refuse: bool = False) -> AsyncIterator[tuple[int, list[Any]]]:
    asked: list[Any] = []

    async def infer(message: Any, context: Any) -> Any:
        asked.append(message)
        await asyncio.sleep(0.02)
        if refuse:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no")
        return service_pb2.ModelInferResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=service_pb2.ModelInferRequest.FromString,
        response_serializer=service_pb2.ModelInferResponse.SerializeToString,
    )
    listening = grpc.aio.server()
    listening.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
    )
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    try:
        yield port, asked
    finally:
        await listening.stop(0)


def test_a_request_carries_one_tokenised_text() -> None:
    message = service_pb2.ModelInferRequest.FromString(request("m", 3, [101, 7, 102]))
    assert (message.model_name, message.model_version) == ("m", "3")
    assert [(tensor.name, list(tensor.shape)) for tensor in message.inputs] == [
        ("input_ids", [1, 3]),
        ("attention_mask", [1, 3]),
    ]
    ids, mask = (np.frombuffer(raw, dtype=np.int64).tolist() for raw in message.raw_input_contents)
    assert (ids, mask) == ([101, 7, 102], [1, 1, 1])


async def test_calls_stay_in_flight() -> None:
    async with server() as (port, asked):
        load = await drive(Job(port, "m", 1, [[1, 2], [3]], connections=4, seconds=0.4))
    assert 4 * 3 <= load.requests == len(asked)
    assert load.errors == 0
    assert load.p50_ms >= 20
    assert {tuple(message.inputs[0].shape) for message in asked} == {(1, 2), (1, 1)}


async def test_refusals_are_errors() -> None:
    async with server(refuse=True) as (port, _):
        load = await drive(Job(port, "m", 1, [[1]], connections=1, seconds=0.2))
    assert (load.requests, load.errors > 0) == (0, True)
