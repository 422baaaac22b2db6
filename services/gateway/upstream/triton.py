"""Triton: every address of one model server; calls take turns among those that answer."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

from gateway.errors import DeadlineExceededError, GatewayError, UpstreamUnavailableError
from gateway.metrics import Metrics
from gateway.trace_context import Metadata
from gateway.upstream.upstream import PROBE_TIMEOUT_S, Upstream, translate

log = logging.getLogger(__name__)

RESOLVE_TIMEOUT_S = 2.0
# With another server to turn to, the first may use this share of the budget: whatever it does, the other is left
# as much time as it took. Less would repeat slow but honest work under load, which makes the load worse.
FIRST_TRY_SHARE = 0.5
HELD_LOOKS_EVERY_S = 0.05
# While no name has an address every call fails: a cluster's name server knows a new pod a moment after it is ready.
NAMELESS_LOOKS_EVERY_S = 0.25
NOT_ANSWERED = (UpstreamUnavailableError, DeadlineExceededError)


class Triton:
    """Host names become one upstream per address, so that each has a breaker and a retry goes elsewhere.

    gRPC's own round_robin inside one channel would hide which address is dead.
    """

    def __init__(self, urls: Sequence[str], metrics: Metrics, hold_s: float = 0.0) -> None:
        self._urls, self._metrics, self._hold_s = urls, metrics, hold_s
        self._resolved: dict[str, list[str]] = {}
        self._unresolved: set[str] = set()  # what the log has said so of
        self._upstreams: list[Upstream] = []
        self._turn = 0

    async def open(self) -> None:
        """Resolve the addresses once, on the running loop; a name server that is slow is asked again by `watch`."""
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                await self.resolve()
        except TimeoutError:
            log.warning("the name server did not answer for %s", ", ".join(self._urls))

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams))

    @property
    def states(self) -> Mapping[str, str]:
        """What the last probe saw, by address."""
        return {upstream.address: upstream.state for upstream in self._upstreams}

    async def infer(self, request: Any, timeout_s: float, metadata: Metadata = ()) -> Any:
        """Send a ModelInferRequest, return the ModelInferResponse; the same budget bounds Triton's own queue."""
        return await self._call("ModelInfer", request, timeout_s, metadata)

    async def model_config(self, model: str, version: int, timeout_s: float) -> Any:
        """Return Triton's ModelConfigResponse."""
        request = service_pb2.ModelConfigRequest(name=model, version=str(version))
        return await self._call("ModelConfig", request, timeout_s)

    async def model_statistics(self, model: str, version: int, timeout_s: float) -> Any:
        """Return the ModelStatisticsResponse of whichever Triton's turn it is."""
        request = service_pb2.ModelStatisticsRequest(name=model, version=str(version))
        return await self._call("ModelStatistics", request, timeout_s)

    async def is_ready(self, model: str, version: int) -> bool:
        """Ask whether any Triton serves this version; False when none can be asked."""
        request = service_pb2.ModelReadyRequest(name=model, version=str(version))
        asked = [upstream for upstream in self._upstreams if not upstream.breaker.is_open]
        answers = await asyncio.gather(
            *(upstream.call("ModelReady", request, PROBE_TIMEOUT_S) for upstream in asked), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, grpc.aio.AioRpcError):
                raise answer
        return any(not isinstance(answer, BaseException) and answer.ready for answer in answers)

    async def probe(self) -> None:
        """Ask every address once whether it is ready, and remember the answers."""
        await asyncio.gather(*(upstream.probe() for upstream in self._upstreams))

    async def resolve(self) -> None:
        """Look every host name up; a name that does not resolve now keeps the addresses that it had."""
        for url in self._urls:
            try:
                self._resolved[url] = await addresses(url)
                self._unresolved.discard(url)
            except OSError as error:
                if url not in self._unresolved:
                    log.warning("cannot resolve %s: %s", url, error)
                self._unresolved.add(url)
        await self._adopt(address for found in self._resolved.values() for address in found)

    async def watch(self, every_s: float) -> None:
        """Resolve and probe for ever."""
        probing: dict[Upstream, asyncio.Task[None]] = {}
        try:
            while True:
                await self.resolve()
                for upstream in self._upstreams:
                    if upstream not in probing:
                        probing[upstream] = asyncio.create_task(upstream.watch(every_s))
                for gone in probing.keys() - set(self._upstreams):
                    probing.pop(gone).cancel()
                await asyncio.sleep(every_s if self._upstreams else min(every_s, NAMELESS_LOOKS_EVERY_S))
        finally:
            for task in probing.values():
                task.cancel()
            await asyncio.gather(*probing.values(), return_exceptions=True)

    async def _call(self, method: str, request: Any, timeout_s: float, metadata: Metadata = ()) -> Any:
        """Call one Triton; while none is available wait for one, so that none need run as long as nobody asks."""
        now_s = time.monotonic()
        end_s, held_until_s = now_s + timeout_s, now_s + min(timeout_s, self._hold_s)
        while True:
            try:
                return await self._once(method, request, end_s, metadata)
            except UpstreamUnavailableError as error:
                if time.monotonic() + HELD_LOOKS_EVERY_S >= held_until_s:
                    raise self._counted(error) from error.__cause__
            except GatewayError as error:
                raise self._counted(error) from error.__cause__
            await asyncio.sleep(HELD_LOOKS_EVERY_S)

    async def _once(self, method: str, request: Any, end_s: float, metadata: Metadata) -> Any:
        """Call one Triton, and another once more when the first did not answer and time is left."""
        timeout_s = end_s - time.monotonic()
        if timeout_s <= 0:
            raise DeadlineExceededError("the deadline passed before the model was asked")
        first = self._next()
        if first is None:
            raise UpstreamUnavailableError(f"no model server answers: {self._describe()}")
        share = FIRST_TRY_SHARE if self._has_other(first) else 1.0
        try:
            return await self._try(first, method, request, timeout_s * share, metadata)
        except grpc.aio.AioRpcError as error:
            failure, cause = translate(error), error
        left_s = end_s - time.monotonic()
        # Alone, it is asked again only if the connection broke: behind a service's address another pod may answer.
        second = self._next(but=first) or (None if first.is_connected else first)
        if isinstance(failure, NOT_ANSWERED) and left_s > 0 and second is not None:
            try:
                response = await self._try(second, method, request, left_s, metadata)
                self._metrics.upstream_retries.labels("ok").inc()
            except grpc.aio.AioRpcError as error:
                failure, cause = translate(error), error
                self._metrics.upstream_retries.labels(failure.code).inc()
            else:
                return response
        raise failure from cause

    async def _try(self, upstream: Upstream, method: str, request: Any, timeout_s: float, metadata: Metadata) -> Any:
        if method == "ModelInfer":
            request.parameters["timeout"].int64_param = max(1, int(timeout_s * 1e6))
        response = await upstream.call(method, request, timeout_s, metadata)
        self._metrics.upstream_calls.labels("ok").inc()
        return response

    def _counted(self, error: GatewayError) -> GatewayError:
        self._metrics.upstream_calls.labels(error.code).inc()
        return error

    def _has_other(self, first: Upstream) -> bool:
        return any(upstream is not first and not upstream.breaker.is_open for upstream in self._upstreams)

    def _next(self, but: Upstream | None = None) -> Upstream | None:
        """Return the next upstream whose breaker is closed; None when there is none."""
        for _ in self._upstreams:
            self._turn = (self._turn + 1) % len(self._upstreams)
            upstream = self._upstreams[self._turn]
            if upstream is not but and not upstream.breaker.is_open:
                return upstream
        return None

    def _describe(self) -> str:
        states = [f"{address} is {state}" for address, state in self.states.items()]
        return "; ".join(states) or f"{', '.join(self._urls)} has no address"

    async def _adopt(self, found: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(found))
        known = {upstream.address: upstream for upstream in self._upstreams}
        self._upstreams = [known.get(address) or Upstream(address, self._metrics) for address in wanted]
        gone = [upstream for address, upstream in known.items() if address not in wanted]
        await asyncio.gather(*(upstream.close() for upstream in gone))


async def addresses(url: str) -> list[str]:
    """Return `host:port` as addresses, sorted; raises OSError when the name does not resolve."""
    host, _, port = url.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    else:
        return [url]
    # A server on both protocols is one server: IPv4 where there is any.
    family = min((entry[0] for entry in found), key=lambda family: family is not socket.AF_INET)
    hosts = sorted({str(entry[4][0]) for entry in found if entry[0] is family})
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
