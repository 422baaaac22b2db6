"""The gRPC server: the inference service, health and reflection on one port."""

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from gateway.errors import SettingsError
from gateway.grpc_api.health import Health
from gateway.grpc_api.reading import CarefulServer
from gateway.grpc_api.service import SERVICE, Service
from gateway.grpc_api.strangers import MAX_STREAMS
from gateway.grpc_api.sturdy import SturdyServer

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# On top of the inference calls that admission lets in: those for health and metadata, and streams.
BESIDES_INFERENCE = 64 + MAX_STREAMS


class GrpcServer:
    """Listens between `start` and `stop`, on the running loop. `open_timeout_s`: for a connection to be ready."""

    def __init__(
        self,
        service: Service,
        address: str,
        *,
        max_message_bytes: int,
        max_calls: int,
        connection_age_s: float | None,
        open_timeout_s: float,
        credentials: grpc.ServerCredentials | None,
        shares_port: bool,
    ) -> None:
        self._service, self._address, self._credentials = service, address, credentials
        self._connection_age_s = connection_age_s
        self._max_message_bytes, self._max_calls = max_message_bytes, max_calls + BESIDES_INFERENCE
        self._open_timeout_s = open_timeout_s
        self._shares_port = shares_port  # with other workers; their supervisor keeps strangers off it
        self._server: SturdyServer | None = None

    async def start(self) -> None:
        """Listen; SettingsError when the port cannot be had."""
        options = [
            # Two gateways on one port would share its calls, and nobody would know: only workers of one may.
            ("grpc.so_reuseport", int(self._shares_port)),
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_concurrent_streams", self._max_calls),
            # TLS and HTTP/2's first frames; gRPC itself waits two minutes
            ("grpc.server_handshake_timeout_ms", int(self._open_timeout_s * 1e3)),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_time_ms", 60_000),  # a peer that vanished without a word
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        if self._connection_age_s is not None:
            # Clients are asked to connect anew, calls in flight end in peace. So they have left a gateway that drains
            # before it closes: closing cancels a call that arrives at that moment. And a new gateway gets its share.
            options.append(("grpc.max_connection_age_ms", int(self._connection_age_s * 1000)))
        server = self._server = SturdyServer(options, self._max_calls)
        server.add_registered_method_handlers(SERVICE, self._service.handlers())
        careful = CarefulServer(server, self._service.strangers)
        health_pb2_grpc.add_HealthServicer_to_server(Health(self._service.is_ready, ("", SERVICE)), careful)
        described = reflection.aio.ReflectionServicer((SERVICE, HEALTH, reflection.SERVICE_NAME))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(described, careful)
        try:
            if self._credentials is None:
                server.add_insecure_port(self._address)
            else:
                server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise SettingsError(
                f"cannot listen on {self._address} (gRPC): free the port or set RETORT_GRPC_PORT to another one"
            ) from error
        await server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those in flight have `grace_s` to end, streams none."""
        self._service.strangers.close()
        if self._server is not None:
            await self._server.stop(grace_s)
