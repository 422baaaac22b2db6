"""The gRPC door: `inference.GRPCInferenceService`, with Triton's published stubs."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.experimental.gevent
from tritonclient.grpc import service_pb2, service_pb2_grpc

from loadtests.access import Access, UnreachableError
from loadtests.reply import Reply

# Before the first channel: gRPC would otherwise wait in a thread that stops every other customer.
grpc.experimental.gevent.init_gevent()

# A connection of its own for each customer, as over HTTP; shared, all would come to one gateway behind a load balancer.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


class GrpcDoor:
    """One channel."""

    protocol = "gRPC"

    def __init__(self, access: Access) -> None:
        self._access = access
        self._channel = _channel(access)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = tuple(access.headers.items())

    def models(self) -> list[str]:
        """Ask the repository's index."""
        request = service_pb2.RepositoryIndexRequest(ready=True)
        try:
            answer = self._stub.RepositoryIndex(request, timeout=self._access.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise UnreachableError(_problem(error)) from error
        return sorted({entry.name for entry in answer.models})

    def route(self, count: int) -> str:  # noqa: ARG002  # the same for any
        """The method."""
        return "ModelInfer"

    def ask(self, texts: Sequence[str], *, bypass_cache: bool = False) -> Reply:
        """Infer the texts as a BYTES tensor."""
        request = service_pb2.ModelInferRequest(model_name=self._access.model)
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts), 1])
        tensor.contents.bytes_contents.extend(text.encode() for text in texts)
        metadata = (*self._metadata, ("x-cache-control", "bypass")) if bypass_cache else self._metadata
        try:
            answer, call = self._stub.ModelInfer.with_call(request, timeout=self._access.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            return Reply("shed" if _is_shed(error) else "failed", problem=_problem(error))
        return Reply.of(_labels(answer), len(texts), _trailing(call))

    def close(self) -> None:
        """Close it."""
        self._channel.close()


def _channel(access: Access) -> grpc.Channel:
    secure = access.parts.scheme == "grpcs"
    host = f"[{access.parts.hostname}]" if ":" in (access.parts.hostname or "") else access.parts.hostname
    address = f"{host}:{access.parts.port or (443 if secure else 8081)}"
    if not secure:
        return grpc.insecure_channel(address, OPTIONS)
    roots = access.ca.read_bytes() if access.ca else None
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), OPTIONS)


def _trailing(call: Any) -> Mapping[str, str]:
    return {name: value for name, value in call.trailing_metadata() or () if isinstance(value, str)}


def _is_shed(error: Any) -> bool:
    """RESOURCE_EXHAUSTED is HTTP's 429, but also its 413; the gateway says which."""
    exhausted = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return bool(exhausted and _trailing(error).get("x-error-code") != "too_large")


def _problem(error: Any) -> str:
    return f"{error.code().name}: {error.details()}"


def _labels(answer: Any) -> list[str] | None:
    """The labels; "" for each score of a model without; None when the answer is none."""
    raw = dict(zip((output.name for output in answer.outputs), answer.raw_output_contents, strict=False))
    if "label" not in raw:
        return [""] * (len(raw["score"]) // 4) if "score" in raw else None
    labels, at, content = [], 0, raw["label"]
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        labels.append(content[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return labels
