"""`grpc.health.v1.Health` by the gateway's own readiness."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

LOOKS_EVERY_S = 0.1


class Health(HealthServicer):  # type: ignore[misc]  # untyped
    """grpcio's own forgets all watchers of a service when one of them leaves."""

    def __init__(self, is_ready: Callable[[], bool], services: Collection[str]) -> None:
        self._is_ready, self._services = is_ready, services

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:  # noqa: N802
        """Answer once."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service; reflection lists those that there are")
        return HealthCheckResponse(status=self._status())

    async def Watch(self, request: HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Tell every change."""
        known, told = request.service in self._services, None
        while True:
            status = self._status() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            await asyncio.sleep(LOOKS_EVERY_S)

    def _status(self) -> HealthCheckResponse.ServingStatus:
        return HealthCheckResponse.SERVING if self._is_ready() else HealthCheckResponse.NOT_SERVING
