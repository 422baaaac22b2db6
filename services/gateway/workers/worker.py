"""A worker: one of several serving processes, which share ports and limits and take their orders from a supervisor."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from gateway import logs, ports
from gateway.admin.orders import Order
from gateway.app import Gateway, Shared, build
from gateway.errors import DeadlineExceededError
from gateway.place import Place
from gateway.process import doors
from gateway.security.memory_buckets import MemoryBuckets
from gateway.server import Door, DrainingServer
from gateway.settings import load
from gateway.workers import figures
from gateway.workers.channel import Channel

log = logging.getLogger(__name__)

EVERYONE_TIMEOUT_S = 25.0


def work(argument: str) -> None:
    """Serve in the place that the argument describes until the supervisor says stop, or is gone."""
    place = Place.loads(argument)
    claimed = {"http_port": place.http_port, "grpc_port": place.grpc_port, "admin_port": place.admin_port}
    settings = load().model_copy(update=claimed)
    logs.configure(place.log_level, place.index)
    channel = Channel(socket.socket(fileno=place.control))

    async def everyone(order: Order, value: str | None = None) -> list[Any]:
        answers = await channel.ask("everyone", [order, value], timeout_s=EVERYONE_TIMEOUT_S)
        if None in answers:
            raise DeadlineExceededError("a worker did not answer in time; it may not have done it")
        return [answer for worker in answers for answer in worker]

    gateway = build(settings, Shared(place, MemoryBuckets(place.buckets), everyone))
    http = ports.join(settings.host, settings.http_port, "RETORT_HTTP_PORT")
    admin = ports.join(settings.host, settings.admin_port, "RETORT_ADMIN_PORT") if gateway.admin else None
    server = WorkerServer(*doors(gateway, settings, admin), gateway, settings.gateway_drain_s, channel)
    server.run(sockets=[http])


class WorkerServer(DrainingServer):
    """Tells the supervisor whether it could answer, does what it says, and drains when it is gone."""

    def __init__(
        self, config: uvicorn.Config, others: list[Door], gateway: Gateway, drain_s: float, channel: Channel
    ) -> None:
        super().__init__(config, others, gateway.lifecycle, drain_s)
        self._gateway, self._channel = gateway, channel
        self._told: bool | None = None
        self._following: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen to the supervisor, then open every door."""
        await self._channel.open()
        self._following = asyncio.create_task(self._follow())
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second, first when the doors are open."""
        ready = self._gateway.catalog.is_ready and not self._gateway.lifecycle.draining
        if ready != self._told:
            self._channel.tell("ready", ready)
            self._told = ready
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def _follow(self) -> None:
        await self._channel.run(self._answer)
        log.error("the supervisor is gone: draining")
        self.handle_exit(signal.SIGTERM, None)

    async def _answer(self, what: str, value: Any) -> Any:
        match what:
            case "signal":
                self.handle_exit(value, None)
            case "ready":
                self._gateway.lifecycle.others_ready = value
            case "figures":  # on a thread, as a scrape of a single process is
                return await asyncio.to_thread(lambda: figures.plain(self._gateway.metrics.registry.collect()))
            case "order":
                return await self._gateway.obey(*value)
        return None
