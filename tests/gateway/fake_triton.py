"""A gRPC server that speaks Triton's protocol and computes the tiny model; it can be slow, silent or wrong."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.tiny_model import BAD, GOOD, WORDS


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped stubs
    """`requests` are the ModelInferRequests that came, with `metadata`; `delay_s` and `status` decide the answers.

    `ready_delay_s` is how long it takes to say whether a model is ready.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.delay_s = self.ready_delay_s = 0.0
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.answer: Any = None
        self.ready = True
        self.url = ""
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on loopback."""
        self._server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.url = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        await self._server.start()

    async def stop(self) -> None:
        """End every call at once."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return service_pb2.ServerReadyResponse(ready=self.ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        await asyncio.sleep(self.ready_delay_s)
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        answer = service_pb2.ModelConfigResponse()
        answer.config.name = request.name
        return answer

    async def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        answer = service_pb2.ModelStatisticsResponse()
        answer.model_stats.add(name=request.name, version=request.version)
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        await asyncio.sleep(self.delay_s)
        if self.status is not None:
            await context.abort(*self.status)
        return self.answer if self.answer is not None else infer(request)


@contextmanager
def threaded_triton() -> Iterator[FakeTriton]:
    """A fake Triton on a loop and thread of its own, for tests that block theirs."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    triton = FakeTriton()
    asyncio.run_coroutine_threadsafe(triton.start(), loop).result(5)
    try:
        yield triton
    finally:
        asyncio.run_coroutine_threadsafe(triton.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def infer(request: Any) -> Any:
    """Answer as tests/tiny_model.py's graph does: two points for every good or bad word."""
    ids, mask = (
        np.frombuffer(raw, dtype=np.int64).reshape(tuple(tensor.shape))
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    )
    logits = np.zeros((len(ids), 2), dtype=np.float32)
    for column, words in enumerate((BAD, GOOD)):
        counted = np.isin(ids, [WORDS.index(word) for word in words]) * mask
        logits[:, column] = 2 * counted.sum(axis=1)
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
    answer.outputs.add(name="logits", datatype="FP32", shape=logits.shape)
    answer.raw_output_contents.append(logits.tobytes())
    return answer
