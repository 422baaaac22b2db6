"""`inference.GRPCInferenceService`: what callers may ask of it, and what every call goes through."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

from gateway import grpc_errors, headers, http_errors, metadata, oip
from gateway.access import CLIENT_LEFT, AccessLog
from gateway.call import Call
from gateway.errors import GatewayError
from gateway.grpc_api.messages import read_infer, write_infer, write_metadata
from gateway.grpc_api.reading import Decode, read_message, read_stranger
from gateway.grpc_api.strangers import Strangers
from gateway.headers import RequestLimits
from gateway.oip import version_number
from gateway.security.gate import Gate
from gateway.serving.catalog import Catalog
from gateway.serving.predictor import Predictor

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
NO_STREAMS = "streaming comes with generation; ask with ModelInfer"

Work = Callable[[Call, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Service:
    """The service's methods; everything that it does not list gRPC itself answers with UNIMPLEMENTED."""

    predictor: Predictor
    catalog: Catalog
    is_ready: Callable[[], bool]
    gate: Gate
    limits: RequestLimits
    access: AccessLog
    version: str
    strangers: Strangers

    def handlers(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        """Return a handler a method."""
        methods: dict[str, tuple[str, Work, bool]] = {
            "ServerLive": ("grpc_health", self.server_live, False),
            "ServerReady": ("grpc_health", self.server_ready, False),
            "ServerMetadata": ("grpc_metadata", self.server_metadata, True),
            "ModelReady": ("grpc_metadata", self.model_ready, True),
            "ModelMetadata": ("grpc_metadata", self.model_metadata, True),
            "ModelConfig": ("grpc_metadata", self.model_config, True),
            "ModelStatistics": ("grpc_metadata", self.model_statistics, True),
            "RepositoryIndex": ("grpc_metadata", self.repository_index, True),
            "ModelInfer": ("grpc_infer", self.infer, True),
        }
        handlers = {name: self._unary(name, *method) for name, method in methods.items()}
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            refuse_stream,
            response_serializer=service_pb2.ModelStreamInferResponse.SerializeToString,
        )
        return handlers

    async def infer(self, call: Call, request: Any) -> Any:
        asked = read_infer(request)
        version = version_number(request.model_version)
        return write_infer(asked, await oip.infer(self.predictor, call, request.model_name, version, asked))

    async def server_live(self, _: Call, request: Any) -> Any:  # noqa: ARG002  # all methods have one form
        return service_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, _: Call, request: Any) -> Any:  # noqa: ARG002
        return service_pb2.ServerReadyResponse(ready=self.is_ready())

    async def server_metadata(self, _: Call, request: Any) -> Any:  # noqa: ARG002
        return service_pb2.ServerMetadataResponse(
            name=metadata.NAME, version=self.version, extensions=metadata.EXTENSIONS
        )

    async def model_ready(self, call: Call, request: Any) -> Any:
        target = metadata.routed(self.catalog, call.caller, request.name, version_number(request.version))
        return service_pb2.ModelReadyResponse(ready=await target.is_ready(call.deadline_s))

    async def model_metadata(self, call: Call, request: Any) -> Any:
        target = metadata.routed(self.catalog, call.caller, request.name, version_number(request.version))
        return write_metadata(metadata.describe(target), metadata.PLATFORM)

    async def model_config(self, call: Call, request: Any) -> Any:
        target = metadata.routed(self.catalog, call.caller, request.name, version_number(request.version))
        return await target.config(call.deadline_s)

    async def model_statistics(self, call: Call, request: Any) -> Any:
        if not request.name:
            return await metadata.statistics(self.catalog, call.caller, call.deadline_s)
        target = metadata.routed(self.catalog, call.caller, request.name, version_number(request.version))
        return await target.statistics(call.deadline_s)

    async def repository_index(self, call: Call, request: Any) -> Any:
        answer = service_pb2.RepositoryIndexResponse()
        for entry in metadata.index(self.catalog, call.caller, ready_only=request.ready):
            answer.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return answer

    def _unary(self, method: str, route: str, work: Work, needs_key: bool) -> "grpc.RpcMethodHandler[Any, Any]":  # noqa: FBT001
        asked, given = _messages(method)

        async def handle(_: Any, context: Any) -> Any:
            return await self._answer(asked.FromString, context, route, work, needs_key=needs_key)

        # A stream of one message, the same on the wire: so that it can be read by hand.
        return grpc.stream_unary_rpc_method_handler(handle, response_serializer=given.SerializeToString)

    async def _answer(self, decode: Decode, context: Any, route: str, work: Work, *, needs_key: bool) -> Any:
        """Answer one call; errors of the tree become statuses here, whoever raised them."""
        given = {name.encode(): _bytes(value) for name, value in context.invocation_metadata()}
        call = Call(headers.request_id(given), given)
        call.route = route
        self.access.began(call)
        status = 200
        try:
            headers.admit(call, self.limits)
            left_s = context.time_remaining()
            if left_s is not None:  # gRPC's own deadline; callers commonly give hours
                granted_s = call.started_s + min(left_s, self.limits.max_deadline_ms / 1e3)
                call.deadline_s = min(call.deadline_s, granted_s) if b"x-deadline-ms" in given else granted_s
            if needs_key:
                await self.gate.admit(call)
                request = await read_message(context, decode, call.deadline_s)
            else:
                request = await read_stranger(context, decode, call.deadline_s, self.strangers)
            answer = await work(call, request)
            context.set_trailing_metadata(_trailing(call))
        except GatewayError as error:
            status = http_errors.STATUS[type(error)]
            log.debug("%s", error)
            trailing = _trailing(call) + grpc_errors.metadata(error)
            await context.abort(grpc_errors.STATUS[type(error)], str(error), trailing)
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        except Exception as error:
            status = 500
            log.error("unforeseen error", exc_info=error)
            await context.abort(
                grpc.StatusCode.INTERNAL,
                "an unforeseen error; the log has it under this request id",
                _trailing(call),
            )
        finally:
            self.access.answered(call, "gRPC", status)
        return answer


async def refuse_stream(requests: Any, context: Any) -> Any:  # noqa: ARG001
    """Answer a stream with UNIMPLEMENTED and the reason."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_STREAMS)


def _messages(method: str) -> tuple[Any, Any]:
    """Return the classes of a method's request and response."""
    described = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[method]
    return getattr(service_pb2, described.input_type.name), getattr(service_pb2, described.output_type.name)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _trailing(call: Call) -> tuple[tuple[str, str], ...]:
    return tuple([(name.decode(), value.decode()) for name, value in headers.answer(call)])
