"""One upstream: a watch that survives, and a breaker that only silence opens."""

import asyncio

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2

from gateway.metrics import Metrics
from gateway.upstream.upstream import Upstream
from tests.gateway.conftest import until
from tests.gateway.fake_triton import FakeTriton


async def test_a_bug_does_not_end_the_watch(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    upstream = Upstream(fake_triton.url, metrics)
    inner, bugs = Upstream.probe, [ZeroDivisionError("inside")]

    async def probe(probing: Upstream) -> None:
        if bugs:
            raise bugs.pop()
        await inner(probing)

    monkeypatch.setattr(Upstream, "probe", probe)
    watch = asyncio.create_task(upstream.watch(0.01))

    async def seen() -> bool:
        return upstream.state == "ready"

    await until(seen)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert metrics.registry.get_sample_value("retort_upstream_calls_total", {"result": "internal"}) == 1
    assert "ZeroDivisionError: inside" in caplog.text
    await upstream.close()


async def test_a_hurried_caller_does_not_open_the_breaker(fake_triton: FakeTriton) -> None:
    upstream = Upstream(fake_triton.url, Metrics())
    fake_triton.delay_s = 5.0
    for _ in range(5):
        with pytest.raises(grpc.aio.AioRpcError):
            await upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 0.05)
    assert upstream.breaker.failures == 0
    with pytest.raises(grpc.aio.AioRpcError):
        await upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 1.1)
    assert upstream.breaker.failures == 1
    await upstream.close()
