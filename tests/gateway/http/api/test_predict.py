"""The predict doors."""

from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import started
from tests.gateway.fake_triton import FakeTriton
from tests.tiny_model import publish_tiny


async def test_predict_answers_with_the_default_model(client: httpx.AsyncClient) -> None:
    answer = await client.post("/predict", json={"text": "a good film"})
    assert answer.status_code == 200
    assert answer.json() == {
        "prediction": "positive",
        "confidence": pytest.approx(0.8808, abs=1e-4),
        "model": "tiny",
        "version": 1,
    }


async def test_many_texts_are_answered_in_order(client: httpx.AsyncClient) -> None:
    texts = ["a good film", "bad", "very " * 200, "good good bad"] * 20
    together = (await client.post("/v1/models/tiny/predict", json={"inputs": texts})).json()
    assert [found["label"] for found in together] == ["positive", "negative", "negative", "positive"] * 20
    alone = [(await client.post("/v1/models/tiny/predict", json={"inputs": text})).json()[0] for text in texts[:4]]
    assert alone == together[:4]


async def test_pairs_are_refused_by_a_model_that_reads_single_texts(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/models/tiny/predict", json={"inputs": [["a", "b"]]})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "model 'tiny' reads single texts, not pairs"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/predict", b"{", 400, "invalid_request"),
        ("/predict", b"{}", 400, "invalid_request"),
        ("/predict", b'{"text": ""}', 400, "invalid_request"),
        ("/predict", b'{"text": ["a"]}', 400, "invalid_request"),
        ("/predict", b'{"text": "' + b"x" * 10_000_000 + b'"}', 413, "too_large"),
        ("/v1/models/tiny/predict", b'{"inputs": {}}', 400, "invalid_request"),
        ("/v1/models/tiny/predict", b'{"inputs": [' + b'"a",' * 256 + b'"a"]}', 400, "invalid_request"),
        ("/v1/models/nope/predict", b'{"inputs": "a"}', 404, "unknown_model"),
        ("/v1/models/..%2F..%2Fetc/predict", b'{"inputs": "a"}', 404, "not_found"),
    ],
)
async def test_bad_input_is_a_clear_4xx(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, code: str
) -> None:
    answer = await client.post(path, content=body, headers={"x-request-id": "r-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-1"


async def test_several_models_need_a_default(repository: Path, fake_triton: FakeTriton) -> None:
    publish_tiny(repository, "other", swapped=True)
    async with started(repository, fake_triton.url) as (_, client):
        answer = await client.post("/predict", json={"text": "good"})
        assert answer.status_code == 400
        assert "other, tiny" in answer.json()["error"]["message"]
        unknown = await client.post("/v1/models/nope/predict", json={"inputs": "good"})
        assert unknown.json()["error"]["message"].endswith("known models: other, tiny")
    async with started(repository, fake_triton.url, default_model="other") as (_, client):
        assert (await client.post("/predict", json={"text": "good"})).json()["model"] == "other"
