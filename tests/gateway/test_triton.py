"""Triton over gRPC: its statuses in our words, its deadline, its coming and going."""

import asyncio
import time

import grpc
import grpc.aio
import numpy as np
import pytest

from gateway import tensors
from gateway.errors import (
    DeadlineExceededError,
    GatewayError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from gateway.metrics import Metrics
from gateway.triton import Triton, Upstream
from tests.gateway.api.test_oip_bodies import IDS
from tests.gateway.conftest import until
from tests.gateway.fake_triton import FakeTriton

INPUTS = {name: np.ones(IDS["shape"], dtype=np.int64) for name in ("input_ids", "attention_mask")}


def request() -> object:
    """A call of two rows."""
    return tensors.request("tiny", 1, INPUTS)


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape", UpstreamRefusedError),
        (grpc.StatusCode.INTERNAL, "onnx runtime error", UpstreamFailedError),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", UpstreamUnavailableError),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", DeadlineExceededError),
        (grpc.StatusCode.NOT_FOUND, "unknown model", UpstreamUnavailableError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too big", UpstreamUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", DeadlineExceededError),
    ],
)
async def test_statuses_become_errors_of_the_tree(
    fake_triton: FakeTriton, code: grpc.StatusCode, details: str, error: type[GatewayError]
) -> None:
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    triton.open()
    fake_triton.status = (code, details)
    with pytest.raises(error):
        await triton.infer(request(), 2.0)
    assert metrics.registry.get_sample_value("retort_upstream_calls_total", {"result": error.code}) == 1
    await triton.close()


async def test_the_budget_travels_and_bounds_the_call(fake_triton: FakeTriton) -> None:
    triton = Triton([fake_triton.url], Metrics())
    triton.open()
    await triton.infer(request(), 2.0)
    assert fake_triton.requests[0].parameters["timeout"].int64_param == 2_000_000
    fake_triton.delay_s = 5.0
    started_s = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await triton.infer(request(), 0.1)
    assert time.monotonic() - started_s < 1
    with pytest.raises(DeadlineExceededError):
        await triton.infer(request(), 0.0)
    assert len(fake_triton.requests) == 2
    await triton.close()


async def test_calls_take_turns_among_addresses(fake_triton: FakeTriton) -> None:
    other = FakeTriton()
    await other.start()
    triton = Triton([fake_triton.url, other.url], Metrics())
    triton.open()
    for _ in range(6):
        await triton.infer(request(), 2.0)
    assert (len(fake_triton.requests), len(other.requests)) == (3, 3)
    await triton.close()
    await other.stop()


async def test_a_triton_that_went_is_a_quick_error_and_is_found_again(fake_triton: FakeTriton) -> None:
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    triton.open()
    await triton.probe()
    assert triton.states == {fake_triton.url: "ready"}
    await fake_triton.stop()
    started_s = time.monotonic()
    with pytest.raises(UpstreamUnavailableError):
        await triton.infer(request(), 5.0)
    assert time.monotonic() - started_s < 1
    await triton.probe()
    assert "unreachable" in triton.states[fake_triton.url]
    assert metrics.registry.get_sample_value("retort_upstream_up", {"upstream": fake_triton.url}) == 0
    assert not await triton.is_ready("tiny", 1)

    again = FakeTriton()
    await again.start(int(fake_triton.url.rpartition(":")[2]))

    async def answers() -> bool:
        return await triton.is_ready("tiny", 1)

    await until(answers, 2.0)
    await triton.infer(request(), 2.0)
    await triton.close()
    await again.stop()


async def test_a_bug_does_not_end_the_watch(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    triton.open()
    inner, bugs = Triton._probe, [ZeroDivisionError("inside")]

    async def probe(probing: Triton, upstream: Upstream) -> None:
        if bugs:
            raise bugs.pop()
        await inner(probing, upstream)

    monkeypatch.setattr(Triton, "_probe", probe)
    watch = asyncio.create_task(triton.watch(0.01))

    async def seen() -> bool:
        return triton.states[fake_triton.url] == "ready"

    await until(seen)
    watch.cancel()
    assert metrics.registry.get_sample_value("retort_upstream_calls_total", {"result": "internal"}) == 1
    assert "ZeroDivisionError: inside" in caplog.text
    await triton.close()


async def test_no_proxy_stands_between_gateway_and_triton(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    triton = Triton([fake_triton.url], Metrics())
    triton.open()
    await triton.infer(request(), 5.0)
    await triton.close()
