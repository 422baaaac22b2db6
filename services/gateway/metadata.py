"""What the Open Inference Protocol tells about models: the same for both doors."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import service_pb2

from gateway.caller import Caller
from gateway.errors import UnknownVersionError
from gateway.serving.catalog import Catalog
from gateway.serving.target import Target

NAME = "retort"
PLATFORM = "retort_text"
EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, type and shape of a tensor; -1 = any."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model's text interface; `parameters` tells its own tensors, digest and limits."""

    name: str
    version: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the repository; `state` in Triton's words, READY = it answers."""

    name: str
    version: str
    state: str
    reason: str


def routed(catalog: Catalog, caller: Caller, model: str, version: int | None) -> Target:
    """Return who answers for a model that the caller may use; UnknownVersionError when that is not `version`."""
    caller.check_model(model)
    target = catalog.target(model)
    if version is not None and version != target.manifest.version:
        raise UnknownVersionError(f"model {model!r} answers from version {target.version} only")
    return target


def describe(target: Target) -> ModelInfo:
    """Return what callers need to know to ask a model."""
    manifest = target.manifest
    return ModelInfo(
        name=manifest.model,
        version=target.version,
        inputs=(TensorInfo("text", "BYTES", (-1, 2 if manifest.pair else 1)),),
        outputs=(TensorInfo("label", "BYTES", (-1, 1)), TensorInfo("score", "FP32", (-1, 1))),
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


async def statistics(catalog: Catalog, caller: Caller, deadline_s: float) -> Any:
    """Return Triton's ModelStatisticsResponse for all of the caller's models that answer."""
    targets = [model.target for name, model in sorted(catalog.models.items()) if caller.may_use(name) and model.target]
    answer = service_pb2.ModelStatisticsResponse()
    for found in await asyncio.gather(*(target.statistics(deadline_s) for target in targets)):
        answer.MergeFrom(found)
    return answer


def index(catalog: Catalog, caller: Caller, *, ready_only: bool) -> list[IndexEntry]:
    """Return every version of the caller's models; `ready_only` leaves out those that do not answer."""
    entries = []
    for name, model in catalog.models.items():
        if not caller.may_use(name):
            continue
        answers = model.target.manifest.version if model.target else None
        for version in sorted({*model.stored.versions, *model.rejected}):
            if version == answers:
                entries.append(IndexEntry(name, str(version), "READY", ""))
            elif not ready_only:
                reason = model.rejected.get(version, "verified; gets no traffic without a rollout")
                entries.append(IndexEntry(name, str(version), "UNAVAILABLE", reason))
    return entries
