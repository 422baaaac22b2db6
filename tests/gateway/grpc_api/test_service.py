"""The gRPC door: contract metadata, keys, deadlines, errors; over a real channel, in front of a fake Triton."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.app import Gateway
from tests.gateway.conftest import started
from tests.gateway.fake_triton import FakeTriton
from tests.ports import free_ports
from tests.tiny_model import publish_tiny


@asynccontextmanager
async def door(repository: Path, triton_url: str, **settings: str) -> AsyncIterator[tuple[Gateway, Any]]:
    """A gateway whose gRPC door listens, and a stub at it."""
    (port,) = free_ports(1)
    async with started(repository, triton_url, grpc_port=str(port), **settings) as (gateway, _):
        await gateway.grpc.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield gateway, service_pb2_grpc.GRPCInferenceServiceStub(channel)
        finally:
            await gateway.grpc.stop(0)


@pytest.fixture
async def stub(published: Path, fake_triton: FakeTriton) -> AsyncIterator[Any]:
    """A stub at a gateway over the tiny model and the fake Triton."""
    async with door(published, fake_triton.url) as (_, found):
        yield found


def ask(*texts: str, model: str = "tiny", **more: Any) -> Any:
    """A ModelInferRequest about texts, typed contents."""
    request = service_pb2.ModelInferRequest(model_name=model, **more)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts), 1])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return request


async def fails(call: Any) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


async def test_answers_carry_the_metadata_of_the_contract(stub: Any) -> None:
    call = stub.ModelInfer(ask("a good film", id="7"), metadata=(("x-request-id", "r.1"), ("x-route-key", "alice")))
    answer = await call
    assert (answer.model_name, answer.model_version, answer.id) == ("tiny", "1", "7")
    assert answer.raw_output_contents[0] == b"\x08\0\0\0positive"
    trailing = dict(await call.trailing_metadata())
    assert trailing["x-request-id"] == "r.1"
    assert (trailing["x-model-version"], trailing["x-cohort"], trailing["x-cache"]) == ("1", "stable", "bypass")
    assert trailing["server-timing"].startswith("tokenize;dur=")


async def test_typed_tensors(stub: Any, fake_triton: FakeTriton) -> None:
    request = service_pb2.ModelInferRequest(model_name="tiny", model_version="1")
    for name, values in (("input_ids", [2, 11, 3]), ("attention_mask", [1, 1, 1])):
        request.inputs.add(name=name, datatype="INT64", shape=[1, 3]).contents.int64_contents.extend(values)
    request.parameters["priority"].uint64_param = 4
    answer = await stub.ModelInfer(request)
    assert (answer.outputs[0].name, list(answer.outputs[0].shape)) == ("logits", [1, 2])
    assert fake_triton.requests[0].parameters["priority"].uint64_param == 4


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (ask("good", model="nope"), grpc.StatusCode.NOT_FOUND, "known models: tiny"),
        (ask("good", model_version="2"), grpc.StatusCode.NOT_FOUND, "no verified version 2"),
        (ask("good", model_version="x"), grpc.StatusCode.INVALID_ARGUMENT, "positive whole number"),
        (ask(""), grpc.StatusCode.INVALID_ARGUMENT, "text element 0 is empty"),
        (service_pb2.ModelInferRequest(model_name="tiny"), grpc.StatusCode.INVALID_ARGUMENT, "inputs is empty"),
        (ask("good", raw_input_contents=[b"", b""]), grpc.StatusCode.INVALID_ARGUMENT, "2 raw contents for 1 inputs"),
        (ask("good", raw_input_contents=[b"\xff"]), grpc.StatusCode.INVALID_ARGUMENT, "middle of an element"),
    ],
)
async def test_a_wrong_request_is_named(stub: Any, request_: Any, code: grpc.StatusCode, message: str) -> None:
    error = await fails(stub.ModelInfer(request_))
    assert error.code() is code
    assert message in (error.details() or "")
    assert "x-error-code" in dict(error.trailing_metadata() or ())


async def test_a_bad_header_is_named(stub: Any) -> None:
    error = await fails(stub.ModelInfer(ask("good"), metadata=(("x-cache-control", "maybe"),)))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "x-cache-control must be bypass or refresh",
    )


async def test_the_callers_deadline_reaches_triton(stub: Any, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 2.0
    error = await fails(stub.ModelInfer(ask("good"), timeout=0.3))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert fake_triton.requests[0].parameters["timeout"].int64_param < 310_000  # gRPC measures in its own clock
    error = await fails(stub.ModelInfer(ask("good"), metadata=(("x-deadline-ms", "50"),)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(("timeout_s", "header_ms"), [(30, 5_000), (5, 30_000)])
async def test_the_shorter_of_two_deadlines_holds(
    stub: Any, fake_triton: FakeTriton, timeout_s: float, header_ms: int
) -> None:
    await stub.ModelInfer(ask("good"), timeout=timeout_s, metadata=(("x-deadline-ms", str(header_ms)),))
    assert 0 < fake_triton.requests[0].parameters["timeout"].int64_param < 5_100_000


async def test_what_happens_at_triton_is_translated(stub: Any, fake_triton: FakeTriton) -> None:
    fake_triton.status = (grpc.StatusCode.UNAVAILABLE, "gone")
    assert (await fails(stub.ModelInfer(ask("good")))).code() is grpc.StatusCode.UNAVAILABLE


async def test_overload_says_when_to_come_back(published: Path, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 0.3
    async with door(published, fake_triton.url, gateway_max_inflight="1") as (_, stub):
        first = asyncio.ensure_future(stub.ModelInfer(ask("good")))
        while not fake_triton.requests:  # noqa: ASYNC110  # the state of another server
            await asyncio.sleep(0.01)
        error = await fails(stub.ModelInfer(ask("good")))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.trailing_metadata() or ())["retry-after"] == "1"
        await first


async def test_keys(published: Path, fake_triton: FakeTriton, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{hashlib.sha256(b'secret').hexdigest()} alice\n")
    async with door(published, fake_triton.url, api_keys_file=str(tmp_path / "keys")) as (_, stub):
        assert (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
        for call in (stub.ModelInfer(ask("good")), stub.RepositoryIndex(service_pb2.RepositoryIndexRequest())):
            assert (await fails(call)).code() is grpc.StatusCode.UNAUTHENTICATED
        await stub.ModelInfer(ask("good"), metadata=(("authorization", "Bearer secret"),))


async def test_what_a_key_may_not(published: Path, fake_triton: FakeTriton, tmp_path: Path) -> None:
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()} {name}" for name in ("limited", "slow")]
    (tmp_path / "keys").write_text(f"{lines[0]} models=other\n{lines[1]} rate=0.01 burst=1\n")
    async with door(published, fake_triton.url, api_keys_file=str(tmp_path / "keys")) as (_, stub):
        limited = {"metadata": (("authorization", "Bearer limited"),)}
        for call in (
            stub.ModelInfer(ask("good"), **limited),
            stub.ModelReady(service_pb2.ModelReadyRequest(name="tiny"), **limited),
            stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="tiny"), **limited),
            stub.ModelConfig(service_pb2.ModelConfigRequest(name="tiny"), **limited),
            stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="tiny"), **limited),
        ):
            assert (await fails(call)).code() is grpc.StatusCode.PERMISSION_DENIED
        index = await stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), **limited)
        assert list(index.models) == []
        slow = (("authorization", "Bearer slow"),)
        error = await fails(stub.ModelInfer(ask("good"), metadata=(*slow, ("x-route-version", "1"))))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        await stub.ModelInfer(ask("good"), metadata=slow)
        error = await fails(stub.ModelInfer(ask("good"), metadata=slow))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.trailing_metadata() or ())["x-error-code"] == "rate_limited"


async def test_a_caller_with_the_permission_chooses_the_version(repository: Path, fake_triton: FakeTriton) -> None:
    publish_tiny(repository, swapped=True)
    async with door(repository, fake_triton.url) as (_, stub):
        await stub.ModelInfer(ask("good"), metadata=(("x-route-version", "2"),))
        await stub.ModelInfer(ask("good", model_version="2"))
        assert [request.model_version for request in fake_triton.requests] == ["2", "2"]


async def test_calls_are_counted_on_one_scale_with_http(published: Path, fake_triton: FakeTriton) -> None:
    async with door(published, fake_triton.url) as (gateway, stub):
        await stub.ModelInfer(ask("good"))
        await fails(stub.ModelInfer(ask("")))
        value = gateway.metrics.registry.get_sample_value
        answered = {"route": "grpc_infer", "model": "tiny", "version": "1", "cohort": "stable", "code": "200"}
        refused = {"route": "grpc_infer", "model": "", "version": "", "cohort": "", "code": "400"}
        assert value("retort_requests_total", answered) == 1
        assert value("retort_requests_total", refused) == 1


async def test_a_bug_is_internal_without_a_trace(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("gateway.oip.read_texts", broken)
    error = await fails(stub.ModelInfer(ask("good")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "inside" not in (error.details() or "")
