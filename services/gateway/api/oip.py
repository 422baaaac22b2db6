"""The Open Inference Protocol over HTTP, in JSON: metadata, readiness, and `infer` for text and for tensors."""

import time
from collections.abc import Callable, Sequence

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.api.oip_bodies import BINARY, Infer, parse_infer
from gateway.call import Call
from gateway.catalog import Catalog
from gateway.errors import InvalidRequestError, UnknownVersionError
from gateway.middleware import CALL
from gateway.openapi import HotRoute
from gateway.predictor import Predictor
from gateway.schemas import (
    InferAnswer,
    InferRequest,
    Live,
    ModelMetadata,
    Ready,
    ServerMetadata,
    TensorMetadata,
    TensorOut,
)
from gateway.target import Target

NAME = "retort"
PLATFORM = "retort_text"


def infer_routes(predictor: Predictor) -> list[HotRoute]:
    """Return the inference doors to `predictor`."""

    async def infer(request: Request) -> Response:
        call: Call = request.scope[CALL]
        call.route = "infer"
        if "inference-header-content-length" in request.headers:
            raise InvalidRequestError(BINARY)
        asked = parse_infer(await request.body())
        call.deadline_s = min(call.deadline_s, time.monotonic() + asked.timeout_s)
        model, version = request.path_params["model"], version_number(request.path_params.get("version"))
        if asked.texts is not None:
            answer = await predictor.predict(call, model, asked.texts, version)
            outputs = _text_outputs(asked, [(found.label, found.score) for found in answer.predictions])
            return _answer(asked, answer.target, outputs)
        raw = await predictor.compute(call, model, asked.tensors, version)
        logits = TensorOut.model_construct(
            name="logits", datatype="FP32", shape=list(raw.logits.shape), data=raw.logits.ravel().tolist()
        )
        return _answer(asked, raw.target, [logits])

    return [
        HotRoute(f"/v2/models/{{model}}{version}/infer", infer, "Infer", InferRequest, InferAnswer)
        for version in ("", "/versions/{version}")
    ]


def metadata_router(catalog: Catalog, is_ready: Callable[[], bool], gateway_version: str) -> APIRouter:
    """Return the doors that say who is here and whether it can answer."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("")
    async def server_metadata() -> ServerMetadata:
        return ServerMetadata(name=NAME, version=gateway_version, extensions=["model_repository_versions"])

    @router.get("/health/live")
    async def live() -> Live:
        return Live(live=True)

    @router.get("/health/ready", response_model=Ready)
    async def ready() -> Response:
        return _ready(ready=is_ready())

    @router.get("/models/{model}")
    @router.get("/models/{model}/versions/{version}")
    async def model_metadata(model: str, version: str | None = None) -> ModelMetadata:
        return _metadata(_routed(catalog, model, version))

    @router.get("/models/{model}/ready", response_model=Ready)
    @router.get("/models/{model}/versions/{version}/ready", response_model=Ready)
    async def model_ready(model: str, version: str | None = None) -> Response:
        return _ready(ready=await _routed(catalog, model, version).is_ready())

    return router


def version_number(version: str | None) -> int | None:
    """Return the version in a path; raises InvalidRequestError when it is not a number."""
    if version is None:
        return None
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise InvalidRequestError(f"a version is a positive whole number, not {version[:40]!r}")
    return int(version)


def _routed(catalog: Catalog, model: str, version: str | None) -> Target:
    target = catalog.target(model)
    if version is not None and version_number(version) != target.manifest.version:
        raise UnknownVersionError(f"model {model!r} answers from version {target.version} only")
    return target


def _ready(*, ready: bool) -> Response:
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)


def _text_outputs(asked: Infer, found: Sequence[tuple[str | None, float]]) -> list[TensorOut]:
    shape = [len(found), 1]
    label = TensorOut.model_construct(
        name="label", datatype="BYTES", shape=shape, data=[label or "" for label, _ in found]
    )
    score = TensorOut.model_construct(name="score", datatype="FP32", shape=shape, data=[score for _, score in found])
    return [output for output in (label, score) if asked.wants(output.name)]


def _answer(asked: Infer, target: Target, outputs: Sequence[TensorOut]) -> Response:
    content: dict[str, object] = {"model_name": target.manifest.model, "model_version": target.version}
    if asked.id is not None:
        content["id"] = asked.id
    content["outputs"] = [vars(output) for output in outputs]
    return Response(orjson.dumps(content), media_type="application/json")


def _metadata(target: Target) -> ModelMetadata:
    manifest = target.manifest
    return ModelMetadata(
        name=manifest.model,
        versions=[target.version],
        platform=PLATFORM,
        inputs=[TensorMetadata(name="text", datatype="BYTES", shape=[-1, 2 if manifest.pair else 1])],
        outputs=[
            TensorMetadata(name="label", datatype="BYTES", shape=[-1, 1]),
            TensorMetadata(name="score", datatype="FP32", shape=[-1, 1]),
        ],
        parameters={
            "digest": manifest.digest,
            "task": manifest.task,
            "labels": list(manifest.labels),
            "raw_inputs": dict(manifest.inputs),
            "raw_outputs": dict(manifest.outputs),
            "max_batch_size": manifest.max_batch_size,
            "max_length": manifest.max_length,
            "max_tokens": manifest.max_tokens,
        },
    )
