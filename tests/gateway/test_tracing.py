"""Tracing: a real gateway, a real OTLP receiver, and in between what the caller, Triton and the log know."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import httpx
import pytest

from gateway.app import build
from gateway.errors import SettingsError
from gateway.settings import load
from tests.gateway.collector import attributes, collector, silent_collector
from tests.gateway.conftest import started, until
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.grpc_api.test_service import ask, door
from tests.gateway.processes import environment, free_port, process, status, wait_until
from tests.gateway.test_trace_context import GOOD, PARENT, TRACE

BODY = {"text": "a good film about my secret diary"}
CALLED = {"traceparent": GOOD, "tracestate": "vendor=1"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector is here, whatever proxy the machine has."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def test_a_request_is_one_trace_of_the_callers(published: Path, fake_triton: FakeTriton) -> None:
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            before_ns = time.time_ns()
            answer = await client.post("/predict", json=BODY, headers=CALLED | {"x-request-id": "r.1"})
            after_ns = time.time_ns()
    assert answer.status_code == 200
    (request,), (tokenize,), (queue,), (triton,) = map(received.named, ("predict", "tokenize", "queue", "triton"))
    assert len(received.spans) == 4
    assert {span.trace_id.hex() for span in received.spans} == {TRACE}
    assert len({span.span_id for span in received.spans}) == 4
    assert request.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for span in (tokenize, queue, triton)} == {request.span_id}
    assert (request.kind, tokenize.kind, triton.kind) == (2, 1, 3)  # server, internal, client
    assert request.trace_state == "vendor=1"
    times = [request.start_time_unix_nano]
    for span in (tokenize, queue, triton):
        times += [span.start_time_unix_nano, span.end_time_unix_nano]
    times.append(request.end_time_unix_nano)
    assert times == sorted(times)
    assert times[-2] < times[-1]  # what comes after Triton is not Triton's
    slack_ns = 5_000_000  # two clocks
    assert before_ns - slack_ns <= times[0] <= times[-1] <= after_ns + slack_ns
    assert attributes(request) == {
        "retort.request_id": "r.1",
        "retort.route": "predict",
        "retort.model": "tiny",
        "retort.version": "1",
        "retort.cohort": "stable",
        "retort.status": 200,
        "http.request.method": "POST",
        "http.response.status_code": 200,
    }
    assert fake_triton.metadata[0]["traceparent"] == f"00-{TRACE}-{triton.span_id.hex()}-01"
    assert fake_triton.metadata[0]["tracestate"] == "vendor=1"
    assert not any(b"secret" in body or b"diary" in body for body in received.bodies)


async def test_the_steps_last_as_server_timing_says(published: Path, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 0.05
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            answer = await client.post("/predict", json=BODY)
    told = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    for step in ("tokenize", "queue", "triton"):
        (span,) = received.named(step)
        took_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
        assert took_ms == pytest.approx(float(told[step]), abs=10)
    assert float(told["triton"]) >= 50


async def test_the_grpc_door_too(published: Path, fake_triton: FakeTriton) -> None:
    with collector() as received:
        async with door(published, fake_triton.url, otlp_endpoint=received.url) as (_, stub):
            await stub.ModelInfer(ask("a good film"), metadata=tuple(CALLED.items()))
    (request,) = received.named("grpc_infer")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(request)["rpc.system"] == "grpc"
    assert {span.name for span in received.spans} == {"grpc_infer", "tokenize", "queue", "triton"}


async def test_tensors_go_to_triton_at_once(published: Path, fake_triton: FakeTriton) -> None:
    names = ("input_ids", "attention_mask")
    inputs = [{"name": name, "datatype": "INT64", "shape": [1, 2], "data": [1, 1]} for name in names]
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            answer = await client.post("/v2/models/tiny/infer", json={"inputs": inputs}, headers=CALLED)
    assert answer.status_code == 200
    assert {span.name for span in received.spans} == {"infer", "triton"}
    (request,), (triton,) = received.named("infer"), received.named("triton")
    assert triton.end_time_unix_nano < request.end_time_unix_nano
    assert fake_triton.metadata[0]["traceparent"] == f"00-{TRACE}-{triton.span_id.hex()}-01"


async def test_a_second_try_carries_the_context_too(published: Path, fake_triton: FakeTriton) -> None:
    refusing = FakeTriton()
    refusing.status = (grpc.StatusCode.UNAVAILABLE, "the model is being loaded")
    await refusing.start()
    with collector() as received:
        both = f"{refusing.url},{fake_triton.url}"
        async with started(published, both, otlp_endpoint=received.url) as (_, client):
            for _ in range(2):  # they take turns
                assert (await client.post("/predict", json=BODY)).status_code == 200
    await refusing.stop()
    assert len(refusing.requests) == 1
    told = [metadata["traceparent"] for metadata in fake_triton.metadata]
    assert refusing.metadata[0]["traceparent"] in told
    assert {each.split("-")[2] for each in told} == {span.span_id.hex() for span in received.named("triton")}


async def test_requests_of_one_batch_link_to_the_one_whose_context_triton_got(
    published: Path, fake_triton: FakeTriton
) -> None:
    fake_triton.delay_s = 0.2
    callers = [GOOD, f"00-{2:032x}-{PARENT}-01", f"00-{3:032x}-{PARENT}-01", f"00-{4:032x}-{PARENT}-00"]

    async def at_triton() -> bool:
        return bool(fake_triton.requests)

    with collector() as received:
        settings = {"otlp_endpoint": received.url, "gateway_batches_in_flight": "1"}
        async with started(published, fake_triton.url, **settings) as (_, client):
            first, *others = (client.post("/predict", json=BODY, headers={"traceparent": each}) for each in callers)
            running = asyncio.create_task(first)
            await until(at_triton)
            await asyncio.gather(running, *others)  # they wait for the first and go together
    assert [request.inputs[0].shape[0] for request in fake_triton.requests] == [1, 3]
    spans = {int(span.trace_id.hex(), 16): span for span in received.named("triton")}
    assert set(spans) == {int(TRACE, 16), 2, 3}
    (carrier,) = [number for number in (2, 3) if not spans[number].links]
    (link,) = spans[5 - carrier].links
    assert (link.trace_id, link.span_id) == (spans[carrier].trace_id, spans[carrier].span_id)
    assert not spans[int(TRACE, 16)].links
    assert fake_triton.metadata[1]["traceparent"] == f"00-{carrier:032x}-{spans[carrier].span_id.hex()}-01"


async def test_unsampled_exports_nothing_and_triton_is_told_nothing(published: Path, fake_triton: FakeTriton) -> None:
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            await client.post("/predict", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert received.bodies == []
    assert "traceparent" not in fake_triton.metadata[0]


async def test_a_share_of_zero_leaves_it_to_the_callers(published: Path, fake_triton: FakeTriton) -> None:
    with collector() as received:
        settings = {"otlp_endpoint": received.url, "gateway_trace_share": "0"}
        async with started(published, fake_triton.url, **settings) as (_, client):
            for headers in ({}, {"traceparent": "nonsense"}, CALLED):
                assert (await client.post("/predict", json=BODY, headers=headers)).status_code == 200
    assert [span.trace_id.hex() for span in received.named("predict")] == [TRACE]


@pytest.mark.parametrize("traceparent", ["nonsense", f"00-{TRACE}-{PARENT}", f"00-{'0' * 32}-{PARENT}-01"])
async def test_a_malformed_traceparent_starts_a_new_trace(
    published: Path, fake_triton: FakeTriton, traceparent: str
) -> None:
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            answer = await client.post("/predict", json=BODY, headers={"traceparent": traceparent})
    assert answer.status_code == 200
    (request,) = received.named("predict")
    assert request.trace_id.hex() not in (TRACE, "0" * 32)
    assert request.parent_span_id == b""


async def test_a_failure_of_triton_is_an_error_where_it_happened(published: Path, fake_triton: FakeTriton) -> None:
    fake_triton.status = (grpc.StatusCode.INTERNAL, "broke on 'my secret diary'")
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            answer = await client.post("/predict", json=BODY)
    codes = {span.name: span.status.code for span in received.spans}
    assert codes == {"predict": 2, "tokenize": 0, "queue": 0, "triton": 2}
    assert attributes(received.named("predict")[0])["error.type"] == str(answer.status_code)
    assert not any(b"diary" in body for body in received.bodies)


async def test_a_refusal_is_the_callers_and_no_error(
    published: Path, fake_triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            assert (await client.post("/predict", json={"text": ""})).status_code == 400
            assert (await client.get("/nope")).status_code == 404
    assert [(span.name, span.status.code) for span in received.spans] == [("predict", 0), ("other", 0)]
    assert "unforeseen" not in caplog.text


async def test_probes_are_traced_only_for_whoever_asks(published: Path, fake_triton: FakeTriton) -> None:
    with collector() as received:
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            await client.get("/readyz")
            assert (await client.get("/healthz", headers=CALLED)).status_code == 200
    assert [span.trace_id.hex() for span in received.spans] == [TRACE]


async def test_the_log_names_the_trace(
    published: Path, fake_triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    with collector() as received, caplog.at_level(logging.DEBUG, logger="gateway.access"):
        async with started(published, fake_triton.url, otlp_endpoint=received.url) as (_, client):
            await client.post("/predict", json=BODY, headers=CALLED)
        async with started(published, fake_triton.url) as (_, client):
            await client.post("/predict", json=BODY, headers=CALLED)
    fields = [record.__dict__["fields"] for record in caplog.records if record.name == "gateway.access"]
    assert [line.get("trace_id") for line in fields] == [TRACE, None]


async def test_off_triton_is_told_nothing(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    assert (await client.post("/predict", json=BODY, headers=CALLED)).status_code == 200
    assert "traceparent" not in fake_triton.metadata[0]


async def test_a_silent_collector_does_not_slow_requests(published: Path, fake_triton: FakeTriton) -> None:
    with silent_collector() as endpoint:
        started_s = time.monotonic()
        async with started(published, fake_triton.url, otlp_endpoint=endpoint) as (_, client):
            for _ in range(30):
                assert (await client.post("/predict", json=BODY)).status_code == 200
            assert time.monotonic() - started_s < 4  # an export that is waited for takes 5 s
            closing_s = time.monotonic()
        assert time.monotonic() - closing_s < 4  # FLUSH_S and Triton's channel


def test_a_process_with_a_dead_collector_ends_in_time_and_says_so_once(published: Path, tmp_path: Path) -> None:
    with silent_collector() as endpoint:
        http, log = free_port(), tmp_path / "gateway.log"
        variables = environment(
            model_repository=published,
            triton_urls="127.0.0.1:1",
            http_port=http,
            grpc_port=free_port(),
            metrics_port=free_port(),
            gateway_drain_s=0,
            otlp_endpoint=endpoint,
        )
        with process("gateway", variables | {"NO_PROXY": "127.0.0.1"}, log) as running:
            wait_until(lambda: status(f"http://127.0.0.1:{http}/readyz") == 200, 15, log)
            assert httpx.post(f"http://127.0.0.1:{http}/predict", json=BODY).status_code == 503
            running.send_signal(signal.SIGTERM)
            assert running.wait(6) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["logger"] for line in lines if "opentelemetry" in line["logger"]] == []
    (said,) = [line["message"] for line in lines if line["logger"] == "gateway.otlp"]
    assert "they are lost" in said


def test_off_no_exporter_is_imported(published: Path) -> None:
    code = (
        "import sys; from gateway.app import build; from gateway.settings import load; build(load())\n"
        "wanted = 'gateway.otlp', 'opentelemetry.exporter', 'opentelemetry.sdk.trace'\n"
        "sys.exit(str([name for name in sys.modules if name.startswith(wanted)] or '') or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(model_repository=published), timeout=30)
    assert ended.returncode == 0


def test_a_missing_package_is_one_sentence(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = load({"RETORT_MODEL_REPOSITORY": str(published), "RETORT_OTLP_ENDPOINT": "http://collector:4318"})
    with pytest.raises(SettingsError, match=r"RETORT_OTLP_ENDPOINT is set, but .* pip install 'retort\[tracing\]'"):
        build(settings)
