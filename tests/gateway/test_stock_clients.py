"""Stock clients at both doors: tritonclient over HTTP and gRPC, blocking and asyncio, against the real Triton."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import aio as triton_grpc_aio
from tritonclient.http import aio as triton_http_aio
from tritonclient.utils import InferenceServerException

from tests.gateway.processes import gateway, wait_until
from tests.model_server_process import model_server
from tests.tiny_model import WORDS

ROWS = (("[CLS]", "good", "bad", "good"), ("[CLS]", "film", "dull", "[PAD]"))
LOGITS = [[2, 4], [2, 0]]


class Doors:
    """Where the gateway's doors are."""

    def __init__(self, http: int, grpc_port: int) -> None:
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc_port}"


@pytest.fixture(scope="module")
def doors(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A gateway in front of a real model server."""
    logs = tmp_path_factory.mktemp("logs")
    with model_server(published, logs / "model_server.log") as server:
        server.wait("tiny", ready=True)
        with gateway(published, logs, server.grpc) as served:
            yield Doors(served.port, served.grpc_port)


def text_input(client: Any) -> Any:
    """Two texts."""
    tensor = client.InferInput("text", [2, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([["a good film"], ["a bad film"]], dtype=object))
    return tensor


def raw_inputs(client: Any) -> list[Any]:
    """The model's own two inputs."""
    ids = np.array([[WORDS.index(word) for word in row] for row in ROWS], dtype=np.int64)
    mask = (ids != 0).astype(np.int64)
    inputs = []
    for name, values in (("input_ids", ids), ("attention_mask", mask)):
        inputs.append(client.InferInput(name, list(values.shape), "INT64"))
        inputs[-1].set_data_from_numpy(values)
    return inputs


def check_text(answer: Any) -> None:
    """The answer to `text_input`."""
    assert [label.decode() for label in answer.as_numpy("label").ravel()] == ["positive", "negative"]
    assert answer.as_numpy("score").ravel() == pytest.approx([0.8808] * 2, abs=1e-4)


@pytest.mark.parametrize("client", [triton_http, triton_grpc])
def test_a_blocking_client(doors: Doors, client: Any) -> None:
    with client.InferenceServerClient(doors.http if client is triton_http else doors.grpc) as door:
        assert door.is_server_live()
        assert door.is_server_ready()
        assert door.is_model_ready("tiny", "1")
        answer = door.infer("tiny", [text_input(client)], request_id="7", priority=1, timeout=2_000_000)
        check_text(answer)
        got = answer.get_response()
        named = (got["id"], got["model_version"]) if client is triton_http else (got.id, got.model_version)
        assert named == ("7", "1")
        logits = client.InferRequestedOutput("logits")
        raw = door.infer("tiny", raw_inputs(client), "1", outputs=[logits], priority=2, timeout=2_000_000)
        assert raw.as_numpy("logits").tolist() == LOGITS
        best = door.infer("tiny", raw_inputs(client), outputs=[client.InferRequestedOutput("logits", class_count=1)])
        assert [item.decode() for item in best.as_numpy("logits").ravel()] == ["4.000000:1", "2.000000:0"]
        classes = client.InferRequestedOutput("score", class_count=1)
        scored = door.infer("tiny", [text_input(client)], outputs=[classes]).as_numpy("score")
        assert [item.decode() for item in scored.ravel()] == ["0.880797:1:positive", "0.880797:0:negative"]
        region = client.InferInput("text", [1, 1], "BYTES")
        region.set_shared_memory("region", 8)
        with pytest.raises(InferenceServerException, match="shared memory is not reachable"):
            door.infer("tiny", [region])
        with pytest.raises(InferenceServerException, match="known models: tiny"):
            door.infer("nope", [text_input(client)])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_client_that_compresses(doors: Doors, algorithm: str) -> None:
    with triton_http.InferenceServerClient(doors.http) as door:
        how = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        check_text(door.infer("tiny", [text_input(triton_http)], **how))
        logits = triton_http.InferRequestedOutput("logits")
        raw = door.infer("tiny", raw_inputs(triton_http), outputs=[logits], request_compression_algorithm=algorithm)
        assert raw.as_numpy("logits").tolist() == LOGITS


def test_what_is_told_is_the_same_at_both_doors(doors: Doors) -> None:
    with (
        triton_http.InferenceServerClient(doors.http) as over_http,
        triton_grpc.InferenceServerClient(doors.grpc) as over_grpc,
    ):
        assert over_http.get_server_metadata() == over_grpc.get_server_metadata(as_json=True)
        metadata = over_http.get_model_metadata("tiny")
        del metadata["parameters"]
        told = over_grpc.get_model_metadata("tiny", as_json=True)
        for tensor in (*told["inputs"], *told["outputs"]):
            tensor["shape"] = list(map(int, tensor["shape"]))
        assert metadata == told
        assert over_http.get_model_config("tiny")["max_batch_size"] == 16
        assert over_grpc.get_model_config("tiny").config.max_batch_size == 16
        over_http.infer("tiny", [text_input(triton_http)])
        (statistics,) = over_http.get_inference_statistics("tiny")["model_stats"]
        assert (statistics["name"], statistics["version"]) == ("tiny", "1")
        (same,) = over_grpc.get_inference_statistics("tiny").model_stats
        assert 0 < statistics["inference_count"] == same.inference_count
        assert [model["name"] for model in over_http.get_inference_statistics()["model_stats"]] == ["tiny"]
        assert [model.name for model in over_grpc.get_inference_statistics().model_stats] == ["tiny"]
        entry = {"name": "tiny", "version": "1", "state": "READY"}
        assert over_http.get_model_repository_index() == [entry | {"reason": ""}]
        assert over_grpc.get_model_repository_index(as_json=True) == {"models": [entry]}


@pytest.mark.parametrize("client", [triton_http, triton_grpc])
async def test_an_asyncio_client(doors: Doors, client: Any) -> None:
    aio, url = (triton_http_aio, doors.http) if client is triton_http else (triton_grpc_aio, doors.grpc)
    async with aio.InferenceServerClient(url) as door:
        answers = await asyncio.gather(*(door.infer("tiny", [text_input(client)]) for _ in range(20)))
        for answer in answers:
            check_text(answer)


def test_a_stream_is_refused_with_the_reason(doors: Doors) -> None:
    failed: list[Any] = []

    def note(result: Any, error: Any) -> None:  # noqa: ARG001  # tritonclient passes them by name
        failed.append(error)

    with triton_grpc.InferenceServerClient(doors.grpc) as door:
        door.start_stream(note)
        with suppress(InferenceServerException):  # refused already
            door.async_stream_infer("tiny", [text_input(triton_grpc)])
        wait_until(lambda: bool(failed), 5)
        door.stop_stream()
    assert "streaming comes with generation" in str(failed[0])


def test_what_could_run_code_is_not_there(doors: Doors) -> None:
    with triton_grpc.InferenceServerClient(doors.grpc) as door:
        for forbidden in (
            lambda: door.load_model("tiny"),
            lambda: door.unload_model("tiny"),
            lambda: door.register_system_shared_memory("r", "/r", 8),
            door.get_log_settings,
        ):
            with pytest.raises(InferenceServerException) as refused:
                forbidden()
            assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_health_and_reflection(doors: Doors) -> None:
    with grpc.insecure_channel(doors.grpc) as channel:
        for name in ("", "inference.GRPCInferenceService"):
            asked = health_pb2.HealthCheckRequest(service=name)
            answer = health_pb2_grpc.HealthStub(channel).Check(asked)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        listed = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(listed)
