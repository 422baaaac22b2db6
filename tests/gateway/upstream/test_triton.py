"""Triton over gRPC: its statuses in our words, its deadline, its coming and going."""

import asyncio
import time

import grpc
import grpc.aio
import numpy as np
import pytest

from gateway.errors import (
    DeadlineExceededError,
    GatewayError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from gateway.metrics import Metrics
from gateway.serving import tensors
from gateway.upstream.triton import Triton, addresses
from tests.gateway.conftest import until
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.http.api.test_oip_bodies import IDS

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
    await triton.open()
    fake_triton.status = (code, details)
    with pytest.raises(error):
        await triton.infer(request(), 2.0)
    assert metrics.registry.get_sample_value("retort_upstream_calls_total", {"result": error.code}) == 1
    await triton.close()


async def test_the_budget_travels_and_bounds_the_call(fake_triton: FakeTriton) -> None:
    triton = Triton([fake_triton.url], Metrics())
    await triton.open()
    await triton.infer(request(), 2.0)
    assert fake_triton.requests[0].parameters["timeout"].int64_param == pytest.approx(2_000_000, rel=0.01)
    fake_triton.delay_s = 5.0
    started_s = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await triton.infer(request(), 0.1)
    assert time.monotonic() - started_s < 1
    with pytest.raises(DeadlineExceededError):
        await triton.infer(request(), 0.0)
    assert len(fake_triton.requests) == 2
    await triton.close()


async def test_a_call_is_held_until_a_server_comes_or_its_time_is_over(fake_triton: FakeTriton) -> None:
    metrics = Metrics()
    await fake_triton.stop()
    triton = Triton([fake_triton.url], metrics, hold_s=2.0)
    await triton.open()
    watch = asyncio.create_task(triton.watch(0.05))
    started_s = time.monotonic()
    with pytest.raises(UpstreamUnavailableError, match="no model server answers"):
        await triton.infer(request(), 5.0)
    assert 1.9 < time.monotonic() - started_s < 4
    assert metrics.registry.get_sample_value("retort_upstream_calls_total", {"result": "upstream_unavailable"}) == 1
    held = asyncio.create_task(triton.infer(request(), 5.0))
    await asyncio.sleep(0.3)
    assert not held.done()
    await fake_triton.start(int(fake_triton.url.rpartition(":")[2]))
    await held
    assert len(fake_triton.requests) == 1
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await triton.close()


async def test_calls_take_turns_among_addresses(fake_triton: FakeTriton) -> None:
    other = FakeTriton()
    await other.start()
    triton = Triton([fake_triton.url, other.url], Metrics())
    await triton.open()
    for _ in range(6):
        await triton.infer(request(), 2.0)
    assert (len(fake_triton.requests), len(other.requests)) == (3, 3)
    await triton.close()
    await other.stop()


async def test_a_triton_that_went_is_a_quick_error_and_is_found_again(fake_triton: FakeTriton) -> None:
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    await triton.open()
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
    assert not await triton.is_ready("tiny", 1, 2.0)

    again = FakeTriton()
    await again.start(int(fake_triton.url.rpartition(":")[2]))

    async def answers() -> bool:
        await triton.probe()  # only a probe tries a server whose breaker is open
        return await triton.is_ready("tiny", 1, 2.0)

    await until(answers, 2.0)
    await triton.infer(request(), 2.0)
    await triton.close()
    await again.stop()


async def test_no_proxy_stands_between_gateway_and_triton(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    triton = Triton([fake_triton.url], Metrics())
    await triton.open()
    await triton.infer(request(), 5.0)
    await triton.close()


async def test_a_dead_address_costs_no_request_and_is_left_alone(fake_triton: FakeTriton) -> None:
    gone = FakeTriton()
    await gone.start()
    await gone.stop()
    metrics = Metrics()
    triton = Triton([gone.url, fake_triton.url], metrics)
    await triton.open()
    for _ in range(20):
        await triton.infer(request(), 2.0)
    value = metrics.registry.get_sample_value
    assert value("retort_upstream_retries_total", {"result": "ok"}) == 3, "the breaker must end the retries"
    assert value("retort_upstream_breaker", {"upstream": gone.url}) == 1
    assert value("retort_upstream_breaker", {"upstream": fake_triton.url}) == 0
    assert "breaker open" in triton.states[gone.url]
    await triton.close()
    assert value("retort_upstream_breaker", {"upstream": gone.url}) is None


async def test_a_silent_server_that_nobody_knows_takes_half_of_the_budget_at_most(fake_triton: FakeTriton) -> None:
    silent = FakeTriton()
    await silent.start()
    silent.delay_s = 30.0
    triton = Triton([silent.url, fake_triton.url], Metrics())
    await triton.open()
    for _ in range(2):
        started_s = time.monotonic()
        await triton.infer(request(), 1.0)
        assert time.monotonic() - started_s < 0.9
    assert (len(silent.requests), len(fake_triton.requests)) == (1, 2)
    assert fake_triton.requests[1].parameters["timeout"].int64_param < 600_000
    await triton.close()
    await silent.stop()


async def test_slow_but_honest_servers_are_left_to_their_work(fake_triton: FakeTriton) -> None:
    other = FakeTriton()
    await other.start()
    fake_triton.delay_s = other.delay_s = 0.3
    metrics = Metrics()
    triton = Triton([fake_triton.url, other.url], metrics)
    await triton.open()
    for _ in range(8):
        await triton.infer(request(), 0.5)
    # Both were asked twice while nobody knew how slow they are; since then each is given the time that it takes.
    assert len(fake_triton.requests) + len(other.requests) <= 10
    needless = metrics.registry.get_sample_value("retort_upstream_retries_total", {"result": "needless"}) or 0
    assert 8 + needless == len(fake_triton.requests) + len(other.requests)
    await triton.close()
    await other.stop()


async def test_patience_ends_with_the_hurried_and_then_the_silent_one_is_left_alone(fake_triton: FakeTriton) -> None:
    silent = FakeTriton()
    await silent.start()
    triton = Triton([silent.url, fake_triton.url], Metrics())
    await triton.open()
    for _ in range(4):
        await triton.infer(request(), 60.0)
    silent.delay_s = 30.0
    took_s = []
    for _ in range(6):
        started_s = time.monotonic()
        await triton.infer(request(), 60.0, hurried_s=0.6)
        took_s.append(time.monotonic() - started_s)
    assert sorted(took_s)[-2] < 0.2 < max(took_s) < 0.6, "one call finds out, the others are sent elsewhere"
    started_s = time.monotonic()
    silent.delay_s, fake_triton.delay_s = 0.0, 30.0
    await triton.infer(request(), 60.0)
    assert 0.8 < time.monotonic() - started_s < 2, "however patient all are, silence is noticed within a second"
    await triton.close()
    await silent.stop()


async def test_an_address_that_leaves_ends_its_calls_first_or_they_go_elsewhere(
    fake_triton: FakeTriton, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leaver = FakeTriton()
    await leaver.start()
    found = [leaver.url, fake_triton.url]

    async def scripted(_: str) -> list[str]:
        return list(found)

    monkeypatch.setattr("gateway.upstream.triton.addresses", scripted)
    metrics = Metrics()
    triton = Triton(["triton:8001"], metrics)
    await triton.open()
    watch = asyncio.create_task(triton.watch(0.02))
    leaver.delay_s = 1.5
    for leaving_s, asked_elsewhere in ((60.0, 0), (0.1, 1)):
        monkeypatch.setattr("gateway.upstream.triton.LEAVING_S", leaving_s)
        found[:] = [leaver.url, fake_triton.url]
        await until_known(triton, leaver.url)
        leaver.requests.clear()
        while not leaver.requests:
            held = asyncio.create_task(triton.infer(request(), 10.0))
            await asyncio.sleep(0.1)
        elsewhere = len(fake_triton.requests)
        found[:] = [fake_triton.url]
        assert (await held).model_name == "tiny"
        assert len(fake_triton.requests) - elsewhere == asked_elsewhere
        assert leaver.url not in triton.states
    assert metrics.registry.get_sample_value("retort_upstream_up", {"upstream": leaver.url}) is None
    assert "unforeseen" not in caplog.text
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await triton.close()
    await leaver.stop()


async def test_whether_a_model_is_ready_is_said_in_time(fake_triton: FakeTriton) -> None:
    fake_triton.ready_delay_s = 5.0
    triton = Triton([fake_triton.url], Metrics())
    await triton.open()
    started_s = time.monotonic()
    assert not await triton.is_ready("tiny", 1, 0.1)
    assert time.monotonic() - started_s < 0.6
    await triton.close()


async def until_known(triton: Triton, address: str) -> None:
    """Wait until an address has been probed."""

    async def is_known() -> bool:
        return triton.states.get(address) == "ready"

    await until(is_known)


@pytest.mark.parametrize(
    ("code", "tried"),
    [(grpc.StatusCode.NOT_FOUND, 2), (grpc.StatusCode.UNAVAILABLE, 2), (grpc.StatusCode.INTERNAL, 1)],
)
async def test_only_what_was_not_answered_is_asked_elsewhere(
    fake_triton: FakeTriton, code: grpc.StatusCode, tried: int
) -> None:
    other = FakeTriton()
    await other.start()
    fake_triton.status = other.status = (code, "no")
    triton = Triton([fake_triton.url, other.url], Metrics())
    await triton.open()
    with pytest.raises(GatewayError):
        await triton.infer(request(), 2.0)
    assert len(fake_triton.requests) + len(other.requests) == tried
    assert not any("open" in state for state in triton.states.values())
    await triton.close()
    await other.stop()


async def test_with_every_breaker_open_the_answer_is_at_once_and_the_probe_closes_it(fake_triton: FakeTriton) -> None:
    await fake_triton.stop()
    triton = Triton([fake_triton.url], Metrics())
    await triton.open()
    for _ in range(3):
        with pytest.raises(UpstreamUnavailableError):
            await triton.infer(request(), 2.0)
    started_s = time.monotonic()
    with pytest.raises(UpstreamUnavailableError, match="no model server answers"):
        await triton.infer(request(), 2.0)
    assert time.monotonic() - started_s < 0.1
    watch = asyncio.create_task(triton.watch(30.0))
    again = FakeTriton()
    await again.start(int(fake_triton.url.rpartition(":")[2]))

    async def closed() -> bool:
        return triton.states[fake_triton.url] == "ready"

    await until(closed, 2.0)
    await triton.infer(request(), 2.0)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await triton.close()
    await again.stop()


async def test_a_host_name_becomes_one_upstream_per_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await addresses("127.0.0.1:8001") == ["127.0.0.1:8001"]
    assert await addresses("[::1]:8001") == ["[::1]:8001"]
    assert await addresses("localhost:8001") in (["127.0.0.1:8001"], ["[::1]:8001"])
    answers = [["10.0.0.1:8001", "10.0.0.2:8001"], ["10.0.0.2:8001", "10.0.0.3:8001"]]

    async def scripted(_: str) -> list[str]:
        if not answers:
            raise OSError("the name server is away")
        return answers.pop(0)

    monkeypatch.setattr("gateway.upstream.triton.addresses", scripted)
    triton = Triton(["triton:8001"], Metrics())
    await triton.open()
    assert list(triton.states) == ["10.0.0.1:8001", "10.0.0.2:8001"]
    kept = triton._upstreams[1]
    await triton.resolve()
    assert list(triton.states) == ["10.0.0.2:8001", "10.0.0.3:8001"]
    assert triton._upstreams[0] is kept
    await triton.resolve()
    assert list(triton.states) == ["10.0.0.2:8001", "10.0.0.3:8001"]
    await triton.close()


async def test_a_name_without_an_address_is_looked_up_again_soon_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    async def scripted(_: str) -> list[str]:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise OSError("no such name")
        return ["127.0.0.1:1"]

    monkeypatch.setattr("gateway.upstream.triton.addresses", scripted)
    triton = Triton(["triton:8001"], Metrics())
    await triton.open()
    watch = asyncio.create_task(triton.watch(30.0))

    async def is_known() -> bool:
        return bool(triton.states)

    await until(is_known, 5.0)
    assert caplog.text.count("cannot resolve triton:8001: no such name") == 1
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await triton.close()


async def test_config_and_statistics_pass_through(fake_triton: FakeTriton) -> None:
    triton = Triton([fake_triton.url], Metrics())
    await triton.open()
    assert (await triton.model_config("tiny", 1, 2.0)).config.name == "tiny"
    assert (await triton.model_statistics("tiny", 1, 2.0)).model_stats[0].version == "1"
    await triton.close()
