"""Triton over gRPC: one reused asyncio channel per address."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.errors import (
    DeadlineExceededError,
    GatewayError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 1.0
# gRPC's own back-off grows to two minutes; a Triton that came back must be found within a second.
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.lb_policy_name", "round_robin"),  # a headless service resolves to several addresses
    ("grpc.enable_http_proxy", 0),  # gRPC would send even 127.0.0.1 through http_proxy; the model server is near
]


class Upstream:
    """One Triton address; `state` is what the last probe saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.state = "unknown"
        self.channel = grpc.aio.insecure_channel(url, options=OPTIONS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)


class Triton:
    """Every address of one model server; calls take turns among them."""

    def __init__(self, urls: Sequence[str], metrics: Metrics) -> None:
        self._urls, self._metrics = urls, metrics
        self._upstreams: list[Upstream] = []
        self._turn = 0

    def open(self) -> None:
        """Create the channels, on the running loop. Nothing connects before the first call."""
        self._upstreams = [Upstream(url) for url in self._urls]

    async def close(self) -> None:
        """Close the channels; calls in flight have a second to end."""
        for upstream in self._upstreams:
            await upstream.channel.close(grace=1.0)

    @property
    def states(self) -> Mapping[str, str]:
        """What the last probe saw, by address."""
        return {upstream.url: upstream.state for upstream in self._upstreams}

    async def infer(self, request: Any, timeout_s: float) -> Any:
        """Send a ModelInferRequest, return the ModelInferResponse; the same budget bounds Triton's own queue."""
        if timeout_s <= 0:
            raise DeadlineExceededError("the deadline passed before the model was asked")
        request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
        try:
            response = await self._next().stub.ModelInfer(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            translated = translate(error)
            self._metrics.upstream_calls.labels(translated.code).inc()
            raise translated from error
        self._metrics.upstream_calls.labels("ok").inc()
        return response

    async def is_ready(self, model: str, version: int) -> bool:
        """Ask Triton whether it serves this version; False when it cannot be asked."""
        request = service_pb2.ModelReadyRequest(name=model, version=str(version))
        try:
            response = await self._next().stub.ModelReady(request, timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.ready)

    async def model_config(self, model: str, version: int, timeout_s: float) -> Any:
        """Return Triton's ModelConfigResponse."""
        request = service_pb2.ModelConfigRequest(name=model, version=str(version))
        try:
            return await self._next().stub.ModelConfig(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error

    async def model_statistics(self, model: str, version: int, timeout_s: float) -> Any:
        """Return Triton's ModelStatisticsResponse."""
        request = service_pb2.ModelStatisticsRequest(name=model, version=str(version))
        try:
            return await self._next().stub.ModelStatistics(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error

    async def probe(self) -> None:
        """Ask every address once whether it is ready, and remember the answers."""
        await asyncio.gather(*map(self._probe, self._upstreams))

    async def watch(self, every_s: float) -> None:
        """Probe for ever."""
        while True:
            started_s = time.monotonic()
            try:
                await self.probe()
            except Exception:
                # Broad on purpose: a watch that died would show the last state for ever, and nobody would know.
                self._metrics.upstream_calls.labels(GatewayError.code).inc()
                log.exception("unforeseen error while probing the model server; the next probe comes all the same")
            await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started_s)))

    async def _probe(self, upstream: Upstream) -> None:
        try:
            response = await upstream.stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PROBE_TIMEOUT_S)
            state = "ready" if response.ready else "not ready"
        except grpc.aio.AioRpcError as error:
            state = f"unreachable ({error.code().name})"
        if state != upstream.state:
            log.info("upstream %s is %s", upstream.url, state)
        upstream.state = state
        self._metrics.upstream_up.labels(upstream.url).set(state == "ready")

    def _next(self) -> Upstream:
        self._turn = (self._turn + 1) % len(self._upstreams)
        return self._upstreams[self._turn]


def translate(error: grpc.aio.AioRpcError) -> GatewayError:
    """Say in the gateway's words what Triton's status means."""
    code, details = error.code(), (error.details() or "").split("\n", 1)[0][:300]
    if code is grpc.StatusCode.DEADLINE_EXCEEDED or "timeout expired" in details.lower():
        return DeadlineExceededError("the model server did not answer within the deadline")
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
        return UpstreamRefusedError(f"the model server refused the request: {details}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED):
        return UpstreamUnavailableError(f"the model server is not available: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return UpstreamUnavailableError(f"the model server is full: {details}")
    return UpstreamFailedError(f"the model server failed ({code.name}): {details}")
