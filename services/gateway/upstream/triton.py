"""Triton: every address of one model server; calls take turns among those that answer."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

from gateway.errors import DeadlineExceededError, GatewayError, UpstreamUnavailableError
from gateway.metrics import Metrics
from gateway.trace_context import Metadata
from gateway.upstream.upstream import INFER, PROBE_TIMEOUT_S, Upstream, translate

log = logging.getLogger(__name__)

RESOLVE_TIMEOUT_S = 2.0
HELD_LOOKS_EVERY_S = 0.05
# While no name has an address every call fails: a cluster's name server knows a new pod a moment after it is ready.
NAMELESS_LOOKS_EVERY_S = 0.25
NOT_ANSWERED = (UpstreamUnavailableError, DeadlineExceededError)
# For calls in flight to an address that left the name server: longer than any caller may wait by default.
LEAVING_S = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. Until `end_s` somebody waits for it; `hurried_s` is when the first of those gives up (`monotonic`)."""

    method: str
    request: Any
    metadata: Metadata
    end_s: float
    hurried_s: float


class Triton:
    """Host names become one upstream per address, so that each has a breaker and a retry goes elsewhere.

    gRPC's own round_robin inside one channel would hide which address is dead.
    """

    def __init__(self, urls: Sequence[str], metrics: Metrics, hold_s: float = 0.0) -> None:
        self._urls, self._metrics, self._hold_s = urls, metrics, hold_s
        self._resolved: dict[str, list[str]] = {}
        self._unresolved: set[str] = set()  # what the log has said so of
        self._upstreams: list[Upstream] = []
        self._probing: dict[Upstream, asyncio.Task[None]] = {}
        self._leaving: dict[Upstream, asyncio.Task[None]] = {}
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
        leaving = dict(self._leaving)
        for task in leaving.values():
            task.cancel()
        await asyncio.gather(*leaving.values(), return_exceptions=True)
        await asyncio.gather(*(upstream.close() for upstream in (*self._upstreams, *leaving)))

    @property
    def states(self) -> Mapping[str, str]:
        """What the last probe saw, by address."""
        return {upstream.address: upstream.state for upstream in self._upstreams}

    async def infer(
        self, request: Any, timeout_s: float, metadata: Metadata = (), hurried_s: float | None = None
    ) -> Any:
        """Send a ModelInferRequest, return the ModelInferResponse; the same budget bounds Triton's own queue.

        `hurried_s`: how long the least patient waits of those whose rows these are (None: all for `timeout_s`).
        """
        return await self._call(INFER, request, timeout_s, metadata, hurried_s)

    async def model_config(self, model: str, version: int, timeout_s: float) -> Any:
        """Return Triton's ModelConfigResponse."""
        request = service_pb2.ModelConfigRequest(name=model, version=str(version))
        return await self._call("ModelConfig", request, timeout_s)

    async def model_statistics(self, model: str, version: int, timeout_s: float) -> Any:
        """Return the ModelStatisticsResponse of whichever Triton's turn it is."""
        request = service_pb2.ModelStatisticsRequest(name=model, version=str(version))
        return await self._call("ModelStatistics", request, timeout_s)

    async def is_ready(self, model: str, version: int, timeout_s: float) -> bool:
        """Ask whether any Triton serves this version; False when none says so in time."""
        request = service_pb2.ModelReadyRequest(name=model, version=str(version))
        asked = [upstream for upstream in self._upstreams if not upstream.breaker.is_open]
        answers = await asyncio.gather(
            *(upstream.call("ModelReady", request, min(timeout_s, PROBE_TIMEOUT_S)) for upstream in asked),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, grpc.aio.AioRpcError | GatewayError):
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
        self._adopt(address for found in self._resolved.values() for address in found)

    async def watch(self, every_s: float) -> None:
        """Resolve and probe for ever."""
        try:
            while True:
                await self.resolve()
                for upstream in self._upstreams:
                    if upstream not in self._probing:
                        self._probing[upstream] = asyncio.create_task(upstream.watch(every_s))
                await asyncio.sleep(every_s if self._upstreams else min(every_s, NAMELESS_LOOKS_EVERY_S))
        finally:
            for task in self._probing.values():
                task.cancel()
            await asyncio.gather(*self._probing.values(), return_exceptions=True)

    async def _call(
        self, method: str, request: Any, timeout_s: float, metadata: Metadata = (), hurried_s: float | None = None
    ) -> Any:
        """Call one Triton; while none is available wait for one, so that none need run as long as nobody asks."""
        now_s = time.monotonic()
        held_until_s = now_s + min(timeout_s, self._hold_s)
        hurried_s = timeout_s if hurried_s is None else min(hurried_s, timeout_s)
        ask = Ask(method, request, metadata, now_s + timeout_s, now_s + hurried_s)
        while True:
            try:
                return await self._once(ask)
            except UpstreamUnavailableError as error:
                if time.monotonic() + HELD_LOOKS_EVERY_S >= held_until_s:
                    raise self._counted(error) from error.__cause__
            except GatewayError as error:
                raise self._counted(error) from error.__cause__
            await asyncio.sleep(HELD_LOOKS_EVERY_S)

    async def _once(self, ask: Ask) -> Any:
        """Call one Triton, and another too when the first did not answer or is silent for longer than is usual."""
        if ask.end_s <= time.monotonic():
            raise DeadlineExceededError("the deadline passed before the model was asked")
        if (first := self._next()) is None:
            raise UpstreamUnavailableError(f"no model server answers: {self._describe()}")
        tries = [_quiet(self._try(first, ask))]
        try:
            patience_s = first.patience_s(ask.hurried_s - time.monotonic()) if self._has_other(first) else None
            await asyncio.wait(tries, timeout=patience_s)
            if tries[0].done() and not isinstance(tries[0].exception(), NOT_ANSWERED):
                return tries[0].result()
            if not tries[0].done() and ask.method == INFER:
                first.doubt(ask.request)
            # Alone, it is asked again only if the connection broke: behind a service's address another pod may answer.
            second = self._next(but=first) or (first if tries[0].done() and not first.is_connected else None)
            if second is None or ask.end_s <= time.monotonic():
                return await tries[0]
            tries.append(_quiet(self._try(second, ask)))
            answer = await _answer(tries)
            self._metrics.upstream_retries.labels(_result(answer, "needless" if answer is tries[0] else "ok")).inc()
            return answer.result()
        finally:
            for task in tries:
                task.cancel()

    async def _try(self, upstream: Upstream, ask: Ask) -> Any:
        timeout_s = ask.end_s - time.monotonic()
        if ask.method == INFER:
            ask.request.parameters["timeout"].int64_param = max(1, int(timeout_s * 1e6))
        try:
            response = await upstream.call(ask.method, ask.request, timeout_s, ask.metadata)
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        self._metrics.upstream_calls.labels("ok").inc()
        return response

    def _counted(self, error: GatewayError) -> GatewayError:
        self._metrics.upstream_calls.labels(error.code).inc()
        return error

    def _has_other(self, first: Upstream) -> bool:
        return any(upstream is not first and not upstream.breaker.is_open for upstream in self._upstreams)

    def _next(self, but: Upstream | None = None) -> Upstream | None:
        """Return the next upstream whose breaker is closed, one in doubt only if all are; None when there is none."""
        turns = [*self._upstreams[self._turn + 1 :], *self._upstreams[: self._turn + 1]]
        able = [upstream for upstream in turns if upstream is not but and not upstream.breaker.is_open]
        chosen = min(able, key=lambda upstream: upstream.in_doubt, default=None)
        if chosen is not None:
            self._turn = self._upstreams.index(chosen)
        return chosen

    def _describe(self) -> str:
        states = [f"{address} is {state}" for address, state in self.states.items()]
        return "; ".join(states) or f"{', '.join(self._urls)} has no address"

    def _adopt(self, found: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(found))
        known = {upstream.address: upstream for upstream in self._upstreams}
        self._upstreams = [known.get(address) or Upstream(address, self._metrics) for address in wanted]
        for address, upstream in known.items():
            if address not in wanted:
                leaving = self._leaving[upstream] = asyncio.create_task(self._leave(upstream))
                leaving.add_done_callback(partial(self._left, upstream))

    async def _leave(self, upstream: Upstream) -> None:
        """Stop looking at an address that nobody is sent to any more, and let its calls end."""
        if (probe := self._probing.pop(upstream, None)) is not None:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
        await upstream.close(LEAVING_S)

    def _left(self, upstream: Upstream, _: asyncio.Task[None]) -> None:
        del self._leaving[upstream]


def _quiet(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a try; asyncio would complain of the failure of one that nobody waits for any more."""
    task = asyncio.create_task(coroutine)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task


async def _answer(tries: Iterable[asyncio.Task[Any]]) -> asyncio.Task[Any]:
    """Return the first of the tries that is an answer, be it an error; the last one when none is."""
    waiting = set(tries)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not isinstance(task.exception(), NOT_ANSWERED):
                return task
        if not waiting:
            return done.pop()


def _result(task: asyncio.Task[Any], if_answered: str) -> str:
    error = task.exception()
    return if_answered if error is None else getattr(error, "code", GatewayError.code)


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
