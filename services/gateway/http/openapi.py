"""The OpenAPI document: hot routes are described in it like any other."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from gateway.http.hot import HotRoute
from gateway.http.schemas import ErrorAnswer, OipErrorAnswer

PROBLEMS = {
    "400": "The request is wrong; the message names the thing",
    "401": "An API key is needed",
    "403": "Not allowed for this key",
    "404": "No such model or version",
    "413": "The body is too large",
    "415": "The body is compressed in a way that is not supported",
    "429": "Too busy, or more requests than the key allows; see Retry-After",
    "503": "The model or the model server is not available, or failed",
    "504": "The deadline passed",
}
HEADERS = {
    "x-request-id": "Echoed in the answer; made up when absent.",
    "x-route-key": "Callers with the same key stay in the same cohort.",
    "x-route-version": "Answer from this version; needs the permission `route-version`.",
    "x-deadline-ms": "How long the caller waits, in milliseconds.",
    "x-cache-control": "`bypass` or `refresh`; needs the permission `cache-bypass`.",
}


def describe(app: FastAPI, routes: Sequence[HotRoute]) -> None:
    """Add hot routes to the application's document."""
    cached: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not cached:
            cached.update(get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes))
            for route in routes:
                _describe(cached, route)
        return cached

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _describe(document: dict[str, Any], route: HotRoute) -> None:
    error = OipErrorAnswer if route.path.startswith("/v2/") else ErrorAnswer
    responses = {"200": {"description": "The answer", "content": _json(document, route.gives)}}
    for code, description in PROBLEMS.items():
        responses[code] = {"description": description, "content": _json(document, error)}
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    header = [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in HEADERS.items()
    ]
    document.setdefault("paths", {}).setdefault(route.path, {})["post"] = {
        "tags": ["Open Inference Protocol" if route.path.startswith("/v2/") else "predict"],
        "summary": route.summary,
        "operationId": route.path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": path + header,
        "requestBody": {"required": True, "content": _json(document, route.takes)},
        "responses": responses,
    }


def _json(document: dict[str, Any], model: Any) -> dict[str, Any]:
    schema = TypeAdapter(model).json_schema(ref_template="#/components/schemas/{model}")
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(schema.pop("$defs", {}))
    if schema.get("type") == "object" and "title" in schema:
        components[schema["title"]] = schema
        schema = {"$ref": f"#/components/schemas/{schema['title']}"}
    return {"application/json": {"schema": schema}}
