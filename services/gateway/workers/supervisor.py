"""The supervisor: RETORT_WORKERS processes serve the same ports; one that dies is replaced, and all end together."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prometheus_client import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from gateway import logs, ports
from gateway.metrics import SupervisorMetrics
from gateway.place import Place
from gateway.security import memory_buckets
from gateway.settings import Settings
from gateway.workers import figures
from gateway.workers.channel import Channel
from gateway.workers.figures import Figures

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ANSWER_TIMEOUT_S = 20.0  # for an order of the admin API: a look at a slow model repository
SCRAPE_TIMEOUT_S = 2.0
FIGURES_EVERY_S = 10.0  # what a killed worker counted after the last look is lost; and a look shows that it lives
SILENCE_S = 15.0  # twice in a row, and the worker is killed: health checks only ever meet those that still answer
FIRST_DELAY_S, MAX_DELAY_S = 0.1, 10.0  # before another worker takes the place of one that ended
STEADY_S = 30.0  # a worker that lived for so long has not failed at starting
LATE_S = 5.0  # beyond the time that workers have for ending


def supervise(settings: Settings) -> int:
    """Serve with several workers until SIGTERM or Ctrl-C; returns the exit status. Raises SettingsError."""
    wanted = {"http_port": settings.http_port, "grpc_port": settings.grpc_port}
    if settings.admin_key_file is not None:
        wanted["admin_port"] = settings.admin_port
    with ExitStack() as claims:
        claimed = {
            name: claims.enter_context(ports.claim(settings.host, port, f"RETORT_{name.upper()}")).getsockname()[1]
            for name, port in wanted.items()
        }
        place = Place(
            workers=settings.workers, buckets=memory_buckets.allocate(), log_level=settings.log_level, **claimed
        )
        return asyncio.run(Supervisor(settings, place).run())


@dataclass(eq=False, slots=True)
class Worker:
    """A process, and what it has told."""

    index: int
    process: asyncio.subprocess.Process
    channel: Channel
    ready: bool = False
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    figures: Figures = field(default_factory=list)  # as they were when it was looked at
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def is_up(self) -> bool:
        """Wait until its doors are open; False when it ended instead."""
        ways = [asyncio.create_task(self.serves.wait()), asyncio.create_task(self.process.wait())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        return self.serves.is_set()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """Starts workers, replaces them, hands signals and orders on, and adds their figures up."""

    def __init__(self, settings: Settings, place: Place) -> None:
        self._settings, self._place = settings, place
        self._log_level: str = settings.log_level  # of workers that start later
        self._metrics = SupervisorMetrics()
        self._metrics.serving.set_function(lambda: len(self._serving()))
        self._workers: dict[int, Worker] = {}
        self._gone: Figures = []  # what workers counted that have ended
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Tell the whole story; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        status = 0
        metrics = ports.expose(self._settings.host, self._settings.metrics_port, self._registry(loop))
        try:
            if not await self._start() and not self._stopping.is_set():
                status = 1
                log.debug("a worker ended before it served")  # and has said why, unless it was killed
                self._stop(signal.SIGINT)
            await asyncio.gather(*(self._keep(worker) for worker in list(self._workers.values())))
        finally:
            await asyncio.to_thread(metrics.shutdown)
            metrics.server_close()
        return status

    async def _start(self) -> bool:
        """Start the first, then the others: what no worker can start with is said once, by the first."""
        if not await (await self._spawn(0)).is_up():
            return False
        others = [await self._spawn(index) for index in range(1, self._settings.workers)]
        return all(await asyncio.gather(*(worker.is_up() for worker in others)))

    async def _keep(self, worker: Worker) -> None:
        """Have a worker in this place until all shall end."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            born_s = loop.time()
            status = await worker.process.wait()
            self._bury(worker)
            if self._stopping.is_set():
                return
            failures = 0 if loop.time() - born_s > STEADY_S else failures + 1
            delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2**failures)
            log.error("worker %d ended (%s); another starts in %g s", worker.index, ending(status), delay_s)
            self._metrics.restarts.inc()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
                return
            worker = await self._spawn(worker.index, replaces=True)

    async def _spawn(self, index: int, *, replaces: bool = False) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            place = replace(
                self._place, index=index, control=theirs.fileno(), log_level=self._log_level, replaces=replaces
            )
            command = (sys.executable, "-m", "gateway", "--worker", place.dumps())
            # Workers are born deaf to signals and told what comes: one to the whole group (Ctrl-C, systemd) would
            # otherwise count twice.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                process = await asyncio.create_subprocess_exec(*command, pass_fds=[place.control, place.buckets])
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        worker = self._workers[index] = Worker(index, process, Channel(ours))
        await worker.channel.open()
        worker.tasks = [
            asyncio.create_task(worker.channel.run(partial(self._answer, worker))),
            asyncio.create_task(self._watch(worker)),
        ]
        if self._stopping.is_set():
            worker.kill()
        return worker

    def _bury(self, worker: Worker) -> None:
        """Forget a worker that has ended, but not what it has counted."""
        for task in worker.tasks:
            task.cancel()
        worker.channel.close()
        del self._workers[worker.index]
        self._gone = figures.plain(figures.together([self._gone, figures.kept(worker.figures)]))
        self._announce()

    def _stop(self, number: int) -> None:
        """Hand the signal on; whoever is not gone in time is killed, a second after the signal was repeated."""
        patience_s = self._settings.gateway_drain_s + self._settings.gateway_shutdown_s + LATE_S
        if self._stopping.is_set():
            patience_s = 1.0
        self._stopping.set()
        for worker in self._workers.values():
            if worker.serves.is_set():
                worker.channel.tell("signal", number)
            else:
                worker.kill()
        asyncio.get_running_loop().call_later(patience_s, self._kill)

    def _kill(self) -> None:
        for worker in self._workers.values():
            log.error("worker %d does not end: killed", worker.index)
            worker.kill()

    async def _answer(self, worker: Worker, what: str, value: Any) -> Any:
        """Answer a worker."""
        match what:
            case "ready":
                worker.ready = value
                worker.serves.set()
                self._announce()
            case "everyone":
                return await self._everyone(*value)
        return None

    def _announce(self) -> None:
        """Tell all whether all could answer: a request may come to any."""
        serving = self._serving()
        ready = all(worker.ready for worker in serving)
        for worker in serving:
            worker.channel.tell("ready", ready)

    async def _everyone(self, order: str, value: str | None) -> list[list[Any] | None]:
        """Give an order to all; returns their answers, each in a list, None for one that is silent."""
        if order == "log-level" and value is not None:
            self._log_level = value
            logs.set_level(value)
        serving = self._serving()
        for worker in self._workers.values():
            if worker not in serving:  # it obeys when it is up
                worker.channel.tell("order", [order, value])
        return list(await asyncio.gather(*(_obeyed(worker, [order, value]) for worker in serving)))

    async def _watch(self, worker: Worker) -> None:
        """Look at a worker now and then, also while it starts."""
        silences = 0
        while silences < 2:  # once may be this process' own doing: a container that was paused, a machine that slept
            await asyncio.sleep(FIGURES_EVERY_S)
            silences = 0 if await _looked(worker, SILENCE_S) else silences + 1
        log.error("worker %d did not answer for %g s: killed", worker.index, silences * SILENCE_S)
        worker.kill()

    async def collect(self) -> list[Metric]:
        """Return the figures of all workers, those that are gone included, and of this process."""
        await asyncio.gather(*(_looked(worker, SCRAPE_TIMEOUT_S) for worker in self._serving()))
        own = figures.plain(self._metrics.registry.collect())
        return figures.together([own, self._gone, *(worker.figures for worker in self._workers.values())])

    def _registry(self, loop: asyncio.AbstractEventLoop) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(OnLoop(self, loop))
        return registry

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.serves.is_set()]


class OnLoop(Collector):
    """The supervisor's figures for prometheus_client, which asks on threads of its own."""

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor, self._loop = supervisor, loop

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before a worker serves."""
        return iter(())

    def collect(self) -> list[Metric]:
        """Ask the supervisor."""
        asked = asyncio.run_coroutine_threadsafe(self._supervisor.collect(), self._loop)
        return asked.result(2 * SCRAPE_TIMEOUT_S)


def ending(status: int) -> str:
    """Say how a process ended."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


async def _looked(worker: Worker, timeout_s: float) -> bool:
    """Take the worker's figures; whether it answered, else those of before stay."""
    try:
        worker.figures = await worker.channel.ask("figures", timeout_s=timeout_s)
    except (TimeoutError, ConnectionError):
        return False
    return True


async def _obeyed(worker: Worker, order: list[Any]) -> list[Any] | None:
    """Return the answer in a list; an empty one when the worker has ended, None when it is silent."""
    try:
        return [await worker.channel.ask("order", order, timeout_s=ANSWER_TIMEOUT_S)]
    except TimeoutError:
        return None
    except ConnectionError:
        return []  # whoever replaces it reads everything anew
