"""Strangers: however many come without a key, and whatever they hold, callers with one are answered."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from tritonclient.grpc import service_pb2_grpc

from gateway.grpc_api.health import Health
from gateway.grpc_api.reading import CarefulServer
from gateway.grpc_api.strangers import MAX_STREAMS, Strangers
from gateway.grpc_api.sturdy import SturdyServer
from gateway.metrics import Metrics
from tests.gateway import http2
from tests.gateway.conftest import until
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.grpc_api.test_service import ask, door

WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SILENT = "/inference.GRPCInferenceService/ServerLive"
LIFE_S = 0.5
LIST_SERVICES = b"\x3a\x00"
AWAY = 14


def open_call(channel: grpc.aio.Channel, method: str, message: bytes | None) -> Any:
    """A stranger's call that is not ended: with a message, or without."""
    call: Any = channel.stream_stream(method)(timeout=3600)
    if message is not None:
        return call, asyncio.create_task(call.write(message))
    return call, None


@pytest.mark.parametrize(("method", "message"), [(WATCH, b""), (REFLECTION, None), (REFLECTION, b""), (SILENT, None)])
async def test_who_has_a_key_is_answered(
    published: Path, fake_triton: FakeTriton, tmp_path: Path, method: str, message: bytes | None
) -> None:
    (tmp_path / "keys").write_text(f"{hashlib.sha256(b'secret').hexdigest()} alice\n")
    settings = {"api_keys_file": str(tmp_path / "keys"), "gateway_max_inflight": "4"}
    async with door(published, fake_triton.url, **settings) as (gateway, _), AsyncExitStack() as stack:
        address = gateway.grpc._address
        own_pool = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=own_pool)) for _ in range(3)
        ]
        held = [open_call(channels[index % 2], method, message) for index in range(240)]
        await asyncio.sleep(1)
        started_s = time.monotonic()
        with_key = service_pb2_grpc.GRPCInferenceServiceStub(channels[2])
        answer = await with_key.ModelInfer(ask("good"), metadata=(("authorization", "Bearer secret"),))
        assert answer.model_version == "1"
        assert time.monotonic() - started_s < 2
        refused = gateway.metrics.registry.get_sample_value("retort_shed_total", {"reason": "streams"}) or 0
        assert refused == 0 if method == SILENT else refused >= 240 - MAX_STREAMS
        for call, _ in held:
            call.cancel()
        await asyncio.gather(*(writing for _, writing in held if writing), return_exceptions=True)

        async def have_left() -> bool:
            watch: Any = channels[2].stream_stream(WATCH)()
            await watch.write(b"")
            try:
                return bool(await watch.read() == b"\x08\x01")
            except grpc.aio.AioRpcError:
                return False
            finally:
                watch.cancel()

        await until(have_left)


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, Strangers]]:
    """A server whose streams live half a second, and its strangers."""
    server, strangers = SturdyServer([("grpc.so_reuseport", 0)], 100), Strangers(Metrics(), 10, LIFE_S)
    careful = CarefulServer(server, strangers)
    health_pb2_grpc.add_HealthServicer_to_server(Health(lambda: True, ("",)), careful)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(("s",)), careful)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port, strangers
    await server.stop(0)


@pytest.mark.parametrize(("method", "message"), [(WATCH, b""), (REFLECTION, LIST_SERVICES)])
@pytest.mark.parametrize("closes", [False, True])
async def test_a_stream_ends_with_its_time_or_the_server(
    served: tuple[int, Strangers], method: str, message: bytes, closes: bool
) -> None:
    port, strangers = served
    started_s = time.monotonic()
    sent = http2.call(method.encode(), http2.prefixed(message), ends=False)
    asked = asyncio.create_task(asyncio.to_thread(http2.ask, port, sent, 5))
    if closes:
        await asyncio.sleep(LIFE_S / 5)
        strangers.close()
    assert (await asked).status == AWAY
    assert (time.monotonic() - started_s < LIFE_S) == closes
