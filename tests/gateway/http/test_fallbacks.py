"""Fallbacks: unknown routes and bugs, in the caller's protocol."""

import httpx


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
