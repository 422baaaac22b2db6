"""The Open Inference Protocol over HTTP: `infer`, metadata, readiness, and what Triton tells of a model."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway import metadata, oip
from gateway.call import CALL
from gateway.http.api.bodies import parse_object
from gateway.http.api.oip_bodies import HEADER_LENGTH, parse_infer, reply
from gateway.http.api.protobuf_json import as_json
from gateway.http.hot import Asked, HotRoute, Reply
from gateway.http.schemas import (
    InferAnswer,
    InferRequest,
    Live,
    ModelMetadata,
    Ready,
    RepositoryVersion,
    ServerMetadata,
    TensorMetadata,
)
from gateway.oip import version_number
from gateway.serving.catalog import Catalog
from gateway.serving.predictor import Predictor
from gateway.serving.target import Target


def infer_routes(predictor: Predictor) -> list[HotRoute]:
    """Return the inference doors to `predictor`."""

    async def infer(asked: Asked) -> Reply:
        inference, form = parse_infer(asked.body, asked.call.headers.get(HEADER_LENGTH))
        version = version_number(asked.path.get("version"))
        return reply(inference, form, await oip.infer(predictor, asked.call, asked.path["model"], version, inference))

    return [
        HotRoute(f"/v2/models/{{model}}{version}/infer", "infer", infer, "Infer", InferRequest, InferAnswer)
        for version in ("", "/versions/{version}")
    ]


def metadata_router(catalog: Catalog, is_ready: Callable[[], bool], gateway_version: str) -> APIRouter:
    """Return the doors that say who is here and whether it can answer."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("")
    async def server_metadata() -> ServerMetadata:
        return ServerMetadata(name=metadata.NAME, version=gateway_version, extensions=list(metadata.EXTENSIONS))

    @router.head("/health/live", include_in_schema=False)
    @router.get("/health/live")
    async def live() -> Live:
        return Live(live=True)

    @router.head("/health/ready", include_in_schema=False)
    @router.get("/health/ready", response_model=Ready)
    async def ready() -> Response:
        return _ready(ready=is_ready())

    @router.post("/repository/index")
    async def repository_index(request: Request) -> list[RepositoryVersion]:
        body = await request.body()
        asked = parse_object(body) if body.strip() else {}
        entries = metadata.index(catalog, request.scope[CALL].caller, ready_only=asked.get("ready") is True)
        return [RepositoryVersion.model_validate(asdict(entry)) for entry in entries]

    @router.get("/models/{model}")
    @router.get("/models/{model}/versions/{version}")
    async def model_metadata(request: Request, model: str, version: str | None = None) -> ModelMetadata:
        info = metadata.describe(_routed(catalog, request, model, version))
        return ModelMetadata(
            name=info.name,
            versions=[info.version],
            platform=metadata.PLATFORM,
            inputs=[TensorMetadata.model_validate(asdict(tensor)) for tensor in info.inputs],
            outputs=[TensorMetadata.model_validate(asdict(tensor)) for tensor in info.outputs],
            parameters=dict(info.parameters),
        )

    @router.get("/models/{model}/ready", response_model=Ready)
    @router.get("/models/{model}/versions/{version}/ready", response_model=Ready)
    async def model_ready(request: Request, model: str, version: str | None = None) -> Response:
        target = _routed(catalog, request, model, version)
        return _ready(ready=await target.is_ready(request.scope[CALL].deadline_s))

    return router


def triton_router(catalog: Catalog) -> APIRouter:
    """Return the doors behind which Triton itself answers: configuration and statistics. Before metadata's doors."""
    router = APIRouter(prefix="/v2/models", tags=["Open Inference Protocol"])

    @router.get("/{model}/config")
    @router.get("/{model}/versions/{version}/config")
    async def config(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
        answer = await _routed(catalog, request, model, version).config(request.scope[CALL].deadline_s)
        return as_json(answer.config)

    @router.get("/stats")
    async def all_statistics(request: Request) -> dict[str, Any]:
        call = request.scope[CALL]
        return as_json(await metadata.statistics(catalog, call.caller, call.deadline_s))

    @router.get("/{model}/stats")
    @router.get("/{model}/versions/{version}/stats")
    async def statistics(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
        answer = await _routed(catalog, request, model, version).statistics(request.scope[CALL].deadline_s)
        return as_json(answer)

    return router


def _routed(catalog: Catalog, request: Request, model: str, version: str | None) -> Target:
    return metadata.routed(catalog, request.scope[CALL].caller, model, version_number(version))


def _ready(*, ready: bool) -> Response:
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)
