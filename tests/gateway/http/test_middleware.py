"""What every request goes through: id, deadline, key, headers, metrics, log."""

import asyncio
import gzip
import hashlib
import json
import logging
import re
from pathlib import Path

import grpc
import httpx
import pytest

from tests.gateway.conftest import started
from tests.gateway.fake_triton import FakeTriton

BODY = {"text": "a good film"}


async def test_answers_carry_the_headers_of_the_contract(client: httpx.AsyncClient) -> None:
    headers = (await client.post("/predict", json=BODY, headers={"x-request-id": "my-id.1"})).headers
    assert headers["x-request-id"] == "my-id.1"
    assert (headers["x-model-version"], headers["x-cohort"], headers["x-cache"]) == ("1", "stable", "bypass")
    steps = re.fullmatch(
        r"tokenize;dur=(.+), queue;dur=(.+), triton;dur=(.+), total;dur=(.+)", headers["server-timing"]
    )
    assert steps is not None
    *parts, total = map(float, steps.groups())
    assert 0 < sum(parts) <= total


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä"])
async def test_an_odd_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/healthz", headers=[(b"x-request-id", given.encode())])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"x-deadline-ms": "soon"}, 400, "x-deadline-ms must be a whole number from 1 to 60000, not 'soon'"),
        ({"x-deadline-ms": "0"}, 400, "x-deadline-ms"),
        ({"x-deadline-ms": "-5"}, 400, "x-deadline-ms"),
        ({"x-deadline-ms": "1e3"}, 400, "x-deadline-ms"),
        ({"x-deadline-ms": "9" * 30}, 400, "x-deadline-ms"),
        ({"x-cache-control": "maybe"}, 400, "x-cache-control must be bypass or refresh"),
        ({"x-route-key": "k" * 257}, 400, "x-route-key"),
        ({"x-route-version": "0"}, 400, "x-route-version must be a version number, not '0'"),
        ({"x-route-version": "2"}, 404, "no verified version 2"),
        ({"content-length": "2000000"}, 413, "larger than the 1048576 bytes"),
    ],
)
async def test_a_bad_header_is_named(
    client: httpx.AsyncClient, headers: dict[str, str], status: int, message: str
) -> None:
    answer = await client.post("/predict", json=BODY, headers=headers)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    "headers",
    [{"x-cache-control": "refresh"}, {"x-route-version": "1"}, {"x-route-key": "alice"}, {"x-deadline-ms": "900"}],
)
async def test_a_good_header_is_taken(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post("/predict", json=BODY, headers=headers)).status_code == 200


async def test_the_deadline_is_kept(client: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 2.0
    answer = await client.post("/predict", json=BODY, headers={"x-deadline-ms": "50"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.elapsed.total_seconds() < 1
    assert answer.headers["x-model-version"] == "1"
    assert fake_triton.requests[0].parameters["timeout"].int64_param <= 50_000


async def test_overload_is_refused_with_a_time_to_come_back(published: Path, fake_triton: FakeTriton) -> None:
    fake_triton.delay_s = 0.2
    limits = {"gateway_batch_rows": "1", "gateway_batches_in_flight": "1", "gateway_max_queue_rows": "2"}
    limits["gateway_max_texts"] = "2"
    async with started(published, fake_triton.url, **limits) as (_, client):
        answers = await asyncio.gather(*(client.post("/predict", json=BODY) for _ in range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_compressed_body_is_read_and_another_form_is_refused_by_name(client: httpx.AsyncClient) -> None:
    sent = gzip.compress(json.dumps(BODY).encode())
    answer = await client.post("/predict", content=sent, headers={"content-encoding": "gzip"})
    assert answer.json()["prediction"] == "positive"
    bomb = gzip.compress(bytes(2_000_000))
    answer = await client.post("/predict", content=bomb, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    answer = await client.post("/predict", content=sent, headers={"content-encoding": "br"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert "content-encoding 'br' is not supported" in answer.json()["error"]["message"]


async def test_keys(published: Path, fake_triton: FakeTriton, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{hashlib.sha256(b'secret').hexdigest()} alice\n")
    async with started(published, fake_triton.url, api_keys_file=str(tmp_path / "keys"), host="0.0.0.0") as (_, client):
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200
        answer = await client.post("/predict", json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
        assert (await client.get("/v2/models/tiny")).json() == {"error": answer.json()["error"]["message"]}
        good = await client.post("/predict", json=BODY, headers={"authorization": "Bearer secret"})
        assert good.status_code == 200


async def test_what_a_key_may_not(published: Path, fake_triton: FakeTriton, tmp_path: Path) -> None:
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()} {name}" for name in ("limited", "slow")]
    (tmp_path / "keys").write_text(f"{lines[0]} models=other\n{lines[1]} rate=0.01 burst=1\n")
    async with started(published, fake_triton.url, api_keys_file=str(tmp_path / "keys")) as (_, client):
        client.headers["authorization"] = "Bearer limited"
        for answer in (
            await client.post("/predict", json=BODY),
            await client.post("/v1/models/tiny/predict", json={"inputs": "good"}),
            await client.get("/v2/models/tiny"),
            await client.get("/v2/models/tiny/ready"),
            await client.get("/v2/models/tiny/config"),
            await client.get("/v2/models/tiny/versions/1/stats"),
        ):
            assert answer.status_code == 403, answer.url
            assert "the key 'limited' may not use model 'tiny'; its models: other" in answer.text
        assert (await client.post("/v2/repository/index")).json() == []
        assert fake_triton.requests == []
        client.headers["authorization"] = "Bearer slow"
        headers = {"x-route-version": "1"}
        refused = await client.post("/predict", json=BODY, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert "x-route-version needs the permission route-version, which the key 'slow' has not" in refused.text
        assert (await client.post("/predict", json=BODY)).status_code == 200
        limited = await client.post("/predict", json=BODY)
        assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limited")
        assert limited.headers["retry-after"] == "100"
        assert (await client.get("/readyz")).status_code == 200


async def test_answers_tell_browsers_and_caches_to_be_careful(client: httpx.AsyncClient) -> None:
    for answer in (await client.post("/predict", json=BODY), await client.post("/predict", json={})):
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    page = (await client.get("/docs")).headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in page
    assert "frame-ancestors 'none'" in page


@pytest.mark.parametrize(("share", "logged"), [("0", None), ("1", "0123456789" * 8)])
async def test_a_text_is_logged_only_where_that_is_switched_on_and_cut(
    published: Path, fake_triton: FakeTriton, caplog: pytest.LogCaptureFixture, share: str, logged: str | None
) -> None:
    async with started(published, fake_triton.url, gateway_log_text_share=share) as (_, client):
        with caplog.at_level(logging.INFO):
            await client.post("/predict", json={"text": "0123456789" * 9})
    lines = [record.__dict__["fields"] for record in caplog.records if hasattr(record, "fields")]
    assert [line["text"] for line in lines] == ([] if logged is None else [logged])


async def test_requests_are_counted(published: Path, fake_triton: FakeTriton) -> None:
    async with started(published, fake_triton.url) as (gateway, client):
        await client.post("/predict", json=BODY)
        await client.post("/predict", json={})
        value = gateway.metrics.registry.get_sample_value
        answered = {"route": "predict", "model": "tiny", "version": "1", "cohort": "stable", "code": "200"}
        refused = {"route": "predict", "model": "", "version": "", "cohort": "", "code": "400"}
        assert value("retort_requests_total", answered) == 1
        assert value("retort_requests_total", refused) == 1
        assert (
            value("retort_request_duration_seconds_count", {k: answered[k] for k in ("route", "model", "cohort")}) == 1
        )


async def test_who_is_refused_at_the_gate_is_counted_under_the_route_that_was_asked(
    published: Path, fake_triton: FakeTriton, tmp_path: Path
) -> None:
    key = hashlib.sha256(b"slow").hexdigest()
    (tmp_path / "keys").write_text(f"{key} slow rate=0.01 burst=1\n")
    async with started(published, fake_triton.url, api_keys_file=str(tmp_path / "keys")) as (gateway, client):
        paths = {"predict": "/predict", "predict_model": "/v1/models/x/predict", "infer": "/v2/models/x/infer"}
        for path in [*paths.values(), "/nowhere/1", "/nowhere/2"]:
            assert (await client.post(path, json=BODY)).status_code == 401
        slow = {"authorization": "Bearer slow"}
        refused = [{**slow, "x-route-version": "1"}, {**slow, "content-length": "2000000"}, slow, slow]
        answers = [await client.post("/predict", json=BODY, headers=headers) for headers in refused]
        assert [answer.status_code for answer in answers] == [403, 413, 200, 429]
        counted = {
            (sample.labels["route"], sample.labels["code"]): sample.value
            for metric in gateway.metrics.requests.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["code"] != "200"
        }
        assert counted == {
            **{(route, "401"): 1 for route in paths},
            **{("predict", code): 1 for code in ("403", "413", "429")},
            ("other", "401"): 2,
        }


async def test_the_log_tells_failures_and_never_the_text(
    client: httpx.AsyncClient, fake_triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    fake_triton.status = (grpc.StatusCode.INTERNAL, "it broke")
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        answer = await client.post("/predict", json={"text": "my secret diary"}, headers={"x-request-id": "r9"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_failed")
    fields = [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]
    assert [(line["request_id"], line["status"], line["route"]) for line in fields] == [("r9", 503, "predict")]
    assert "diary" not in json.dumps([record.__dict__ for record in caplog.records], default=str)


async def test_a_bug_is_a_500_without_a_trace(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("gateway.http.api.predict.one_text", broken)
    answer = await client.post("/predict", json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "inside" not in answer.text
    assert "ZeroDivisionError" in caplog.text
