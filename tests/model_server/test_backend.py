"""The ONNX Runtime backend inside a real Triton: the same numbers as ONNX Runtime, and one bad request fails alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton

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
    publish_tiny(tmp_path / "repo", queue_delay_us=200_000)
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
        status, _ = server.infer([[2, 11, 3]], model="mistaken")
        assert status >= 400


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", kind="KIND_GPU")
    with model_server(tmp_path / "repo", tmp_path / "log") as server:
        entry = server.wait("tiny", ready=False, loaded=[])
        while not (entry := server.status()["models"]["tiny"])["failed"]:
            pass
        assert "GPU" in entry["failed"]["1"]
