"""Health over gRPC: Check says how it is, Watch what changes, whoever else watches."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

from gateway.grpc_api.health import Health


class Ready:
    """What the test sets."""

    now = True


@pytest.fixture
async def asked() -> AsyncIterator[tuple[HealthStub, Ready]]:
    """A stub at a server of health, and what it says."""
    ready = Ready()
    server = grpc.aio.server()
    add_HealthServicer_to_server(Health(lambda: ready.now, ("", "s")), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield HealthStub(channel), ready
    await server.stop(0)


async def test_check(asked: tuple[HealthStub, Ready]) -> None:
    stub, ready = asked
    assert (await stub.Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
    ready.now = False
    assert (await stub.Check(HealthCheckRequest(service="s"))).status == HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.Check(HealthCheckRequest(service="x"))
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watch_tells_each_of_several_what_changes(asked: tuple[HealthStub, Ready]) -> None:
    stub, ready = asked
    watches = [stub.Watch(HealthCheckRequest()) for _ in range(3)]
    unknown = stub.Watch(HealthCheckRequest(service="x"))
    assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
    assert {(await watch.read()).status for watch in watches} == {HealthCheckResponse.SERVING}
    watches.pop().cancel()
    ready.now = False
    async with asyncio.timeout(2):
        assert {(await watch.read()).status for watch in watches} == {HealthCheckResponse.NOT_SERVING}
    for watch in (*watches, unknown):
        watch.cancel()
