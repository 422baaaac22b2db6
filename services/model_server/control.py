"""Triton's control API over gRPC: load, unload, and what is ready."""

from types import TracebackType
from typing import Any, Self

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from model_server.errors import LoadError, UnreachableError

KEY_NAME = "retort-key"
LOAD_TIMEOUT_S = 300.0  # a TensorRT engine may be built during the call
ASK_TIMEOUT_S = 5.0
OPTIONS = (("grpc.enable_http_proxy", 0),)  # gRPC would go through http_proxy even to this machine


class Control:
    """Triton at `address` (host:port of its gRPC); every call raises UnreachableError when it does not answer."""

    def __init__(self, address: str, key: str | None) -> None:
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = ((f"triton-grpc-protocol-{KEY_NAME}", key),) if key else ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def is_live(self) -> bool:
        """Return whether the server answers at all."""
        try:
            return bool((await self._ask(self._stub.ServerLive, service_pb2.ServerLiveRequest())).live)
        except UnreachableError:
            return False

    async def is_ready(self, model: str, version: int) -> bool:
        """Return whether this version answers inference calls now."""
        request = service_pb2.ModelReadyRequest(name=model, version=str(version))
        return bool((await self._ask(self._stub.ModelReady, request)).ready)

    async def load(self, model: str, config: str) -> None:
        """Load exactly what `config` (JSON) says. Raises LoadError with Triton's reason."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = config
        try:
            await self._stub.RepositoryModelLoad(request, metadata=self._metadata, timeout=LOAD_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            self._refuse_wrong_key(error)
            if error.code() is grpc.StatusCode.UNAVAILABLE and "load" not in (error.details() or ""):
                raise UnreachableError(f"Triton cannot be reached: {error.details()}") from error
            raise LoadError(" ".join((error.details() or str(error.code())).split())) from error

    async def unload(self, model: str) -> None:
        """Unload every version of `model`."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await self._ask(self._stub.RepositoryModelUnload, request)

    async def _ask(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=ASK_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            self._refuse_wrong_key(error)
            raise UnreachableError(f"Triton does not answer: {error.code().name} {error.details()}") from error

    def _refuse_wrong_key(self, error: grpc.aio.AioRpcError) -> None:
        if "protocol is restricted" in (error.details() or ""):
            raise UnreachableError(
                "Triton refuses the loader's key: set RETORT_TRITON_API_KEY to the key that Triton was started with"
            ) from error
