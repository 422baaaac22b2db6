"""One Triton at one address: its channel, its breaker, and what the last probe saw."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.breaker import FIRST_BACKOFF_S, MAX_FAILURES, Breaker
from gateway.errors import (
    DeadlineExceededError,
    GatewayError,
    UpstreamFailedError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from gateway.metrics import Metrics
from gateway.trace_context import Metadata

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 1.0
# A caller in a hurry proves nothing about the server; silence for about as long as a probe waits does.
SILENCE_S = 0.9 * PROBE_TIMEOUT_S
INFER = "ModelInfer"
# How long a call may be silent before another server is asked as well: so many times what is usual, within bounds.
# Below the first a pause of either process is enough; the second is as long as a probe waits.
USUALS = 2.0
LEAST_PATIENCE_S = 0.1
MOST_PATIENCE_S = PROBE_TIMEOUT_S
RECENT_SHARE = 0.2  # of the last answer in what is usual
CLOSE_S = 1.0
# gRPC's own back-off grows to two minutes; a Triton that came back must be found within a second.
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.enable_http_proxy", 0),  # gRPC would send even 127.0.0.1 through http_proxy; the model server is near
]


@dataclass(frozen=True, slots=True)
class Example:
    """An inference that the server answered within `took_s`; 0: that it was asked."""

    request: Any
    took_s: float


class Upstream:
    """One address. Made on the running loop; nothing connects before the first call.

    A server that says it is ready and infers nothing is in doubt until an inference is answered. The probe repeats one
    that was answered before, so no caller waits for the trial.
    """

    def __init__(self, address: str, metrics: Metrics) -> None:
        self.address = address
        self.breaker = Breaker()
        self._seen = "unknown"
        self._metrics = metrics
        self._doubt = asyncio.Event()
        self._usual_s = 0.0  # how long an inference took of late; 0: none was answered yet
        self._example: Example | None = None  # the last inference that was answered
        self._trial: Example | None = None  # what the next probe must repeat; None: nobody doubts that it infers
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._is_open = metrics.upstream_breaker.labels(address)
        self._is_open.set(0)

    @property
    def state(self) -> str:
        """What the last probe saw and whether the breaker is open, for /readyz."""
        return f"{self._seen}, breaker open" if self.breaker.is_open else self._seen

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return bool(self._channel.get_state() is grpc.ChannelConnectivity.READY)

    @property
    def in_doubt(self) -> bool:
        """Whether it owes the proof that it infers."""
        return self._trial is not None

    def doubt(self, request: Any) -> None:
        """Have the probe try an inference, this one if none was answered yet."""
        self._trial = self._trial or self._example or Example(request, 0.0)
        self._doubt.set()

    def patience_s(self, timeout_s: float) -> float:
        """Return how long to wait for it alone when whoever waits has `timeout_s`: half of that while it is unknown.

        No less than is usual here, or slow but honest work would be done twice under load, which makes the load worse.
        """
        if not self._usual_s:
            return timeout_s / 2
        return max(LEAST_PATIENCE_S, USUALS * self._usual_s, min(timeout_s / 2, MOST_PATIENCE_S))

    async def call(self, method: str, request: Any, timeout_s: float, metadata: Metadata = ()) -> Any:
        """Call `method` of Triton's service once, and tell the breaker.

        Raises grpc.aio.AioRpcError, UpstreamUnavailableError when the channel was closed meanwhile.
        """
        started_s = time.monotonic()
        try:
            response = await getattr(self._stub, method)(request, timeout=timeout_s, metadata=metadata)
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                raise  # the caller left
            raise UpstreamUnavailableError(f"the connection to {self.address} was closed") from error
        except grpc.aio.AioRpcError as error:
            if method == INFER and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self.doubt(request)
            if self._is_silence(error, time.monotonic() - started_s):
                self._failed()
            raise
        if method == INFER:
            took_s = time.monotonic() - started_s
            self._trial, self._example = None, Example(request, took_s)
            self._usual_s += RECENT_SHARE * (took_s - self._usual_s) if self._usual_s else took_s
        if self._trial is None:
            self._answered()
        return response

    async def probe(self) -> None:
        """Ask once whether the server is ready, and in doubt for an inference: an open breaker's half-open trial."""
        try:
            response = await self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PROBE_TIMEOUT_S)
            seen = "ready" if response.ready else "not ready"
            if self._trial is None:
                self._answered()
            elif not await self._tried(self._trial):
                seen += " but does not infer"
        except grpc.aio.AioRpcError as error:
            seen = f"unreachable ({error.code().name})"
            self._failed()
        if seen != self._seen:
            log.info("upstream %s is %s", self.address, seen)
        self._seen = seen
        self._metrics.upstream_up.labels(self.address).set(seen == "ready")

    async def watch(self, every_s: float) -> None:
        """Probe for ever: every `every_s` in health, at once after the first failure, then with a back-off."""
        while True:
            self._doubt.clear()
            try:
                await self.probe()
            except Exception:
                # Broad on purpose: a watch that died would show the last state for ever, and nobody would know.
                self._metrics.upstream_calls.labels(GatewayError.code).inc()
                log.exception("unforeseen error while probing %s; the next probe comes all the same", self.address)
            wait_s = self.breaker.probe_in_s(every_s)
            # Also in health: callers in a hurry raise doubts all the time, and each would cost an inference.
            await asyncio.sleep(wait_s if self.breaker.failures else min(wait_s, FIRST_BACKOFF_S))
            if not self.breaker.failures:
                with suppress(TimeoutError):  # wait_for of Python 3.11 can swallow the cancellation
                    async with asyncio.timeout(wait_s):
                        await self._doubt.wait()

    async def close(self, grace_s: float = CLOSE_S) -> None:
        """Close the channel when the calls in flight have ended, after `grace_s` at most; its metrics go at once."""
        for gauge in (self._metrics.upstream_up, self._metrics.upstream_breaker):
            with suppress(KeyError):
                gauge.remove(self.address)
        await self._channel.close(grace=grace_s)

    async def _tried(self, example: Example) -> bool:
        """Repeat an inference; return whether it was answered, be it with an error."""
        request = service_pb2.ModelInferRequest()
        request.CopyFrom(example.request)
        timeout_s = max(PROBE_TIMEOUT_S, 2 * example.took_s)
        request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
        try:
            await self.call(INFER, request, timeout_s)
        except grpc.aio.AioRpcError as error:
            if self._is_silence(error, timeout_s):
                return False
            # It talks. The version may be gone: the next doubt brings its own example.
            self._trial = self._example = None
            self._answered()
        return True

    def _is_silence(self, error: grpc.aio.AioRpcError, waited_s: float) -> bool:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return waited_s >= SILENCE_S
        # Triton also answers UNAVAILABLE itself: a full queue, a model that loads. Then its connection stands.
        return error.code() is grpc.StatusCode.UNAVAILABLE and not self.is_connected

    def _failed(self) -> None:
        self.breaker.failed()
        self._doubt.set()
        if self.breaker.failures == MAX_FAILURES:
            log.warning("upstream %s does not answer: its breaker opens", self.address)
            self._is_open.set(1)

    def _answered(self) -> None:
        if self.breaker.is_open:
            log.info("upstream %s answers again: its breaker closes", self.address)
            self._is_open.set(0)
        self.breaker.answered()


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
