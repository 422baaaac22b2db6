"""The application as a whole: wiring, unknown routes."""

from pathlib import Path

import httpx
import pytest

from gateway.app import build
from gateway.errors import SettingsError
from gateway.settings import load


def test_an_open_bind_without_keys_is_refused(published: Path) -> None:
    environment = {"RETORT_MODEL_REPOSITORY": str(published), "RETORT_HOST": "0.0.0.0"}
    with pytest.raises(SettingsError, match="RETORT_AUTH=off"):
        build(load(environment))
    build(load(environment | {"RETORT_AUTH": "off"}))


async def test_unknown_routes_answer_in_the_callers_protocol(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "GET /nope is not a route" in answer.json()["error"]["message"]
    assert (await client.get("/v2/systemsharedmemory/status")).json() == {
        "error": "GET /v2/systemsharedmemory/status is not a route; see /openapi.json"
    }
    slash = await client.get("/healthz/", headers={"host": "elsewhere"})
    assert (slash.status_code, slash.headers.get("location")) == (404, None)
    wrong = await client.get("/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["code"] == "method_not_allowed"
