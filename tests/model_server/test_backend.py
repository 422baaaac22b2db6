"""The ONNX Runtime backend inside a real Triton: the same numbers as ONNX Runtime, and one bad request fails alone."""

import importlib.util
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton

from model_server.launcher import BACKENDS
from tests.model_server_process import ModelServer, model_server
from tests.tiny_model import WORDS, publish_tiny, tiny_onnx

BAD_ID = len(WORDS)  # outside the embedding: ONNX Runtime refuses the whole run


@pytest.fixture
def client(shared: ModelServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{shared.grpc}") as client:
        yield client


def infer(client: triton.InferenceServerClient, ids: list[list[int]], model: str = "tiny") -> np.ndarray:
    array = np.array(ids, dtype=np.int64)
    inputs = [triton.InferInput(name, array.shape, "INT64") for name in ("input_ids", "attention_mask")]
    inputs[0].set_data_from_numpy(array)
    inputs[1].set_data_from_numpy(np.ones_like(array))
    return np.asarray(client.infer(model, inputs).as_numpy("logits"))


def counts_of(client: triton.InferenceServerClient) -> tuple[int, int]:
    """Return how many rows were inferred, and in how many runs."""
    (statistics,) = client.get_inference_statistics("tiny", as_json=True)["model_stats"]
    return int(statistics.get("inference_count", 0)), int(statistics.get("execution_count", 0))


def test_the_numbers_are_onnx_runtimes(client: triton.InferenceServerClient) -> None:
    rows = np.random.default_rng(0).integers(0, len(WORDS), (5, 7))
    session = onnxruntime.InferenceSession(tiny_onnx().SerializeToString())
    (expected,) = session.run(None, {"input_ids": rows, "attention_mask": np.ones_like(rows)})
    assert expected.any()
    np.testing.assert_allclose(infer(client, rows.tolist()), expected)


def test_every_row_of_merged_requests_goes_back_to_its_asker(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", batching="max_queue_delay_microseconds: 200000")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        with triton.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client, ThreadPoolExecutor(8) as threads:
            asked = [[[2, WORDS.index(word), 3]] * rows for word, rows in [("good", 1), ("bad", 2), ("film", 3)]]
            asked += [[[2, 4, 3]], [[2, BAD_ID, 3]]]
            answers = [threads.submit(infer, client, ids) for ids in asked]
            assert answers[0].result().tolist() == [[0, 2]]
            assert answers[1].result().tolist() == [[2, 0]] * 2
            assert answers[2].result().tolist() == [[0, 0]] * 3
            assert answers[3].result().tolist() == [[0, 0]]
            with pytest.raises(triton.InferenceServerException, match="indices element out of data bounds"):
                answers[4].result()
            deadline = time.monotonic() + 10
            while not (counts := counts_of(client))[0]:  # Triton counts after it has answered
                assert time.monotonic() < deadline
            assert counts[0] > counts[1], "nothing was merged"


def test_options_of_the_cpp_backend_are_honoured_or_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", parameters={"execution_mode": "1", "enable_mem_arena": "false"})
    publish_tiny(tmp_path / "repo", "mistaken", parameters={"execution_mode": "7"})
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        server.wait("tiny", ready=True)
        assert server.infer([[2, 11, 3]])[0] == 200
        server.wait("mistaken", loaded=[])
        deadline = time.monotonic() + 20
        while not (failed := server.status()["models"]["mistaken"]["failed"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "execution_mode is '7'; it may be 0, 1" in failed["1"]
        assert server.infer([[2, 11, 3]], model="mistaken")[0] >= 400


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", kind="KIND_GPU")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        entry = server.wait("tiny", ready=False, loaded=[])
        deadline = time.monotonic() + 20
        while not (entry := server.status()["models"]["tiny"])["failed"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "GPU" in entry["failed"]["1"]


class Refused(Exception):  # noqa: N818 - stands for Triton's TritonModelException
    pass


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend's file as a module, for what no machine without a GPU can show in Triton."""
    monkeypatch.setitem(
        sys.modules,
        "triton_python_backend_utils",
        SimpleNamespace(TritonModelException=Refused),
    )
    spec = importlib.util.spec_from_file_location("retort_backend", BACKENDS / "onnxruntime" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GPU = {"model_instance_kind": "GPU", "model_instance_device_id": "1"}
ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def accelerated(name: str, **parameters: str) -> dict[str, Any]:
    accelerator = {"name": name, "parameters": parameters}
    return {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}}


def test_a_gpu_instance_runs_on_tensorrt_when_asked_then_cuda_then_cpu(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    cuda = [("CUDAExecutionProvider", {"device_id": "1"}), ("CPUExecutionProvider", {})]
    assert backend.providers({}, GPU) == cuda
    config = accelerated("tensorrt", precision_mode="FP16", max_workspace_size_bytes="9", trt_engine_cache_enable="1")
    options = {
        "device_id": "1",
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "9",
        "trt_engine_cache_enable": "1",
    }
    assert backend.providers(config, GPU) == [("TensorrtExecutionProvider", options), *cuda]


@pytest.mark.parametrize(
    ("available", "config", "said"),
    [
        (["CPUExecutionProvider"], {}, "install onnxruntime-gpu"),
        (ALL[1:], accelerated("tensorrt"), "the GPU accelerator tensorrt is not in this ONNX Runtime"),
        (ALL, accelerated("openvino"), "the GPU accelerator openvino is not in this ONNX Runtime"),
        (ALL, accelerated("tensorrt", precision_mode="FP8"), "precision_mode is 'FP8'; it may be FP32, FP16, INT8"),
    ],
)
def test_a_gpu_setting_that_cannot_be_met_is_said(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, available: list[str], config: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with pytest.raises(Refused, match=said):
        backend.providers(config, GPU)


def test_session_options_are_the_cpp_backends(backend: ModuleType) -> None:
    given = {"intra_op_thread_count": "3", "inter_op_thread_count": "2", "execution_mode": "1"}
    given["session.intra_op.allow_spinning"] = "0"
    config = {
        "parameters": {name: {"string_value": value} for name, value in given.items()},
        "optimization": {"graph": {"level": 1}},
    }
    options = backend.session_options(config)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("name", ["intra_op_thread_count", "inter_op_thread_count"])
def test_a_thread_count_that_is_no_number_is_named(backend: ModuleType, name: str) -> None:
    with pytest.raises(Refused, match=f"{name} is 'many'"):
        backend.session_options({"parameters": {name: {"string_value": "many"}}})
