"""Messages that are broken, missing or late, at our methods and at those of others; and one connection's beginning."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from tritonclient.grpc import service_pb2

from gateway.grpc_api.health import Health
from gateway.grpc_api.reading import CarefulServer, read_message
from gateway.grpc_api.strangers import Strangers
from gateway.grpc_api.sturdy import SturdyServer
from gateway.metrics import Metrics
from tests.gateway import http2

INVALID, LATE = 3, 4
WAIT_S = 0.3
CHECK, WATCH = b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch"
REFLECTION = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server with the services of others."""
    server = SturdyServer([("grpc.so_reuseport", 0)], 100)
    careful = CarefulServer(server, Strangers(Metrics(), WAIT_S))
    health_pb2_grpc.add_HealthServicer_to_server(Health(lambda: True, ("",)), careful)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(("s",)), careful)
    found = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield found
    await server.stop(0)


@pytest.mark.parametrize("path", [CHECK, WATCH, REFLECTION])
async def test_a_broken_message_is_the_callers_fault(port: int, path: bytes) -> None:
    sent = http2.call(path, http2.prefixed(b"\xff\xff\xff"))
    assert (await asyncio.to_thread(http2.ask, port, sent, 3)).status == INVALID


@pytest.mark.parametrize("path", [CHECK, WATCH, REFLECTION])
@pytest.mark.parametrize("body", [b"", http2.prefixed(b"abc", length=9)])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_missing_message_ends_the_call(port: int, path: bytes, body: bytes, ends: bool) -> None:
    started_s = time.monotonic()
    sent = http2.call(path, body, ends=ends)
    assert (await asyncio.to_thread(http2.ask, port, sent, 3)).status == (INVALID if ends else LATE)
    assert time.monotonic() - started_s < WAIT_S + 1


async def test_a_caller_that_goes_while_it_is_waited_for_is_no_late_one() -> None:
    class Silent:
        async def read(self) -> bytes:
            await asyncio.sleep(30)
            return b""

    reading = asyncio.create_task(
        read_message(Silent(), service_pb2.ModelInferRequest.FromString, time.monotonic() + 30)
    )
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
