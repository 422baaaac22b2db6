"""One upstream: a watch that survives, and a breaker that only silence opens."""

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from gateway.errors import UpstreamUnavailableError
from gateway.metrics import Metrics
from gateway.serving import tensors
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


async def test_a_server_that_is_ready_and_infers_nothing_stays_out_until_it_infers(fake_triton: FakeTriton) -> None:
    metrics = Metrics()
    upstream = Upstream(fake_triton.url, metrics)
    request = tensors.request("tiny", 1, {name: np.ones((1, 3), np.int64) for name in ("input_ids", "attention_mask")})
    await upstream.call("ModelInfer", request, 1.0)
    fake_triton.delay_s = 30.0
    watch = asyncio.create_task(upstream.watch(0.2))
    with pytest.raises(grpc.aio.AioRpcError):
        await upstream.call("ModelInfer", request, 0.1)  # one caller in a hurry; the rest is the probes' work

    async def is_open() -> bool:
        return upstream.breaker.is_open

    await until(is_open)
    for _ in range(40):
        await asyncio.sleep(0.05)
        assert upstream.breaker.is_open, "being ready must not close it"
    assert upstream.state == "ready but does not infer, breaker open"
    assert metrics.registry.get_sample_value("retort_upstream_up", {"upstream": fake_triton.url}) == 0
    fake_triton.delay_s = 0.0

    async def is_whole() -> bool:
        return upstream.state == "ready"

    await until(is_whole, 2.0)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await upstream.close()


async def test_an_error_to_the_trial_is_an_answer(fake_triton: FakeTriton) -> None:
    upstream = Upstream(fake_triton.url, Metrics())
    fake_triton.delay_s = 5.0
    with pytest.raises(grpc.aio.AioRpcError):
        await upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 0.1)
    fake_triton.delay_s, fake_triton.status = 0.0, (grpc.StatusCode.NOT_FOUND, "the version is gone")
    await upstream.probe()
    assert (upstream.state, upstream.breaker.failures, len(fake_triton.requests)) == ("ready", 0, 2)
    await upstream.probe()
    assert len(fake_triton.requests) == 2, "in health no probe infers"
    await upstream.close()


async def test_a_call_whose_channel_closes_was_not_answered_and_one_that_is_cancelled_was_left(
    fake_triton: FakeTriton,
) -> None:
    upstream = Upstream(fake_triton.url, Metrics())
    fake_triton.delay_s = 30.0
    left = asyncio.create_task(upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 20.0))
    cut = asyncio.create_task(upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 20.0))
    await asyncio.sleep(0.1)
    left.cancel()
    await upstream.close(0.1)
    with pytest.raises(UpstreamUnavailableError, match="was closed"):
        await cut
    with pytest.raises(UpstreamUnavailableError, match="was closed"):
        await upstream.call("ModelInfer", service_pb2.ModelInferRequest(), 20.0)
    assert left.cancelled()


@pytest.mark.parametrize(
    ("usual_s", "timeout_s", "patience_s"),
    [
        (0.0, 10.0, 5.0),  # nobody knows it: half
        (0.005, 1.0, 0.5),
        (0.005, 60.0, 1.0),  # as long as a probe waits
        (0.005, 0.05, 0.1),
        (0.6, 1.0, 1.2),  # its usual work is no silence
    ],
)
async def test_patience(usual_s: float, timeout_s: float, patience_s: float) -> None:
    upstream = Upstream("127.0.0.1:1", Metrics())
    upstream._usual_s = usual_s
    assert upstream.patience_s(timeout_s) == pytest.approx(patience_s)
    await upstream.close()


async def test_what_is_usual_follows_the_answers(fake_triton: FakeTriton) -> None:
    upstream = Upstream(fake_triton.url, Metrics())
    request = tensors.request("tiny", 1, {name: np.ones((1, 3), np.int64) for name in ("input_ids", "attention_mask")})
    fake_triton.delay_s = 0.4
    await upstream.call("ModelInfer", request, 2.0)
    assert 0.8 < upstream.patience_s(0.1) < 1.2
    fake_triton.delay_s = 0.0
    for _ in range(15):
        await upstream.call("ModelInfer", request, 2.0)
    assert upstream.patience_s(0.1) < 0.2
    await upstream.close()
