"""The Open Inference Protocol's doors."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.gateway.conftest import started
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.http.api.test_oip_bodies import TEXT
from tests.tiny_model import publish_tiny

IDS: dict[str, Any] = {"name": "input_ids", "datatype": "INT64", "shape": [1, 3], "data": [2, 11, 3]}
MASK = IDS | {"name": "attention_mask", "data": [1, 1, 1]}


async def test_text_gives_label_and_score(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v2/models/tiny/infer", json={"id": "7", "inputs": [TEXT]})
    assert answer.status_code == 200
    score = pytest.approx(0.8808, abs=1e-4)
    assert answer.json() == {
        "model_name": "tiny",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["positive", "negative"]},
            {"name": "score", "datatype": "FP32", "shape": [2, 1], "data": [score, score]},
        ],
    }
    chosen = await client.post(
        "/v2/models/tiny/versions/1/infer", json={"inputs": [TEXT], "outputs": [{"name": "score"}]}
    )
    assert [output["name"] for output in chosen.json()["outputs"]] == ["score"]
    assert "id" not in chosen.json()


async def test_tensors_pass_through(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    answer = await client.post("/v2/models/tiny/infer", json={"inputs": [IDS, MASK]})
    assert answer.json()["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [1, 2], "data": [0, 2]}]
    (request,) = fake_triton.requests
    assert (request.model_name, request.model_version) == ("tiny", "1")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([IDS], "inputs are input_ids; the model reads"),
        ([IDS | {"data": [2, 10**6, 3]}, MASK], "input_ids holds a value outside 0..20"),
        ([IDS | {"shape": [17, 33], "data": [1] * 561}, MASK | {"shape": [17, 33], "data": [1] * 561}], "17 rows"),
        ([TEXT | {"shape": [1, 2]}], "reads single texts"),
        ([TEXT | {"datatype": "INT64"}], "must have datatype BYTES"),
    ],
)
async def test_wrong_tensors_never_reach_triton(
    client: httpx.AsyncClient, fake_triton: FakeTriton, inputs: list[Any], message: str
) -> None:
    answer = await client.post("/v2/models/tiny/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]
    assert fake_triton.requests == []


async def test_outputs_go_out_raw_when_asked(client: httpx.AsyncClient) -> None:
    asked = {"inputs": [TEXT], "parameters": {"binary_data_output": True}}
    answer = await client.post("/v2/models/tiny/infer", json=asked)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    label, score = json.loads(answer.content[:length])["outputs"]
    assert label["parameters"] == {"binary_data_size": 24}
    assert (score["parameters"], "data" in score) == ({"binary_data_size": 8}, False)
    assert answer.content[length : length + 24] == b"\x08\0\0\0positive\x08\0\0\0negative"
    assert np.frombuffer(answer.content[length + 24 :], "<f4") == pytest.approx([0.8808] * 2, abs=1e-4)


async def test_classification_of_a_text_is_the_gateways(client: httpx.AsyncClient) -> None:
    outputs = [{"name": "score", "parameters": {"classification": 5}}]
    answer = await client.post("/v2/models/tiny/infer", json={"inputs": [TEXT], "outputs": outputs})
    assert answer.json()["outputs"] == [
        {
            "name": "score",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": ["0.880797:1:positive", "0.119203:0:negative", "0.880797:0:negative", "0.119203:1:positive"],
        }
    ]


async def test_parameters_of_a_raw_call_reach_triton(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    outputs = [{"name": "logits", "parameters": {"classification": 1}}]
    asked = {"inputs": [IDS, MASK], "outputs": outputs, "parameters": {"priority": 3, "timeout": 900_000}}
    assert (await client.post("/v2/models/tiny/infer", json=asked)).status_code == 200
    (request,) = fake_triton.requests
    assert request.parameters["priority"].uint64_param == 3
    assert 0 < request.parameters["timeout"].int64_param <= 900_000
    assert request.outputs[0].parameters["classification"].int64_param == 1


async def test_versions_in_the_path(client: httpx.AsyncClient) -> None:
    for version, status in (("1", 200), ("2", 404), ("x", 400), ("-1", 400), ("9" * 30, 400)):
        answer = await client.post(f"/v2/models/tiny/versions/{version}/infer", json={"inputs": [TEXT]})
        assert answer.status_code == status, version
        assert (await client.get(f"/v2/models/tiny/versions/{version}")).status_code == status
    assert "known models: tiny" in (await client.get("/v2/models/nope")).json()["error"]


async def test_metadata(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2")).json()["name"] == "retort"
    model = (await client.get("/v2/models/tiny")).json()
    assert (model["name"], model["versions"]) == ("tiny", ["1"])
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]
    assert model["parameters"]["raw_inputs"] == {"input_ids": "INT64", "attention_mask": "INT64"}


async def test_statistics_of_all_models_are_those_that_the_key_opens(
    repository: Path, fake_triton: FakeTriton, tmp_path: Path
) -> None:
    publish_tiny(repository, "other")
    (repository / "empty").mkdir()
    lines = [f"{hashlib.sha256(key).hexdigest()} {key.decode()}" for key in (b"all", b"some")]
    (tmp_path / "keys").write_text(f"{lines[0]}\n{lines[1]} models=other\n")
    async with started(repository, fake_triton.url, api_keys_file=str(tmp_path / "keys")) as (_, client):
        for key, names in (("all", ["other", "tiny"]), ("some", ["other"])):
            answer = await client.get("/v2/models/stats", headers={"authorization": f"Bearer {key}"})
            assert [(model["name"], model["version"]) for model in answer.json()["model_stats"]] == [
                (name, "1") for name in names
            ]


async def test_readiness_of_a_model_is_tritons(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    for path in ("/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
        assert (await client.get(path)).status_code == 200
    fake_triton.ready = False
    assert (await client.get("/v2/models/tiny/ready")).status_code == 503
    assert (await client.get("/v2/health/ready")).status_code == 200
    assert (await client.get("/v2/models/nope/ready")).status_code == 404
    fake_triton.ready_delay_s = 5.0
    late = await client.get("/v2/models/tiny/ready", headers={"x-deadline-ms": "100"})
    assert late.status_code == 503
    assert late.elapsed.total_seconds() < 0.6


async def test_the_timeout_parameter_is_a_deadline(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 1.0
    answer = await client.post("/v2/models/tiny/infer", json={"inputs": [TEXT], "parameters": {"timeout": 30_000}})
    assert answer.status_code == 504
    assert answer.elapsed.total_seconds() < 0.5
