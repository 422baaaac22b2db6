"""`python -m retort_cli.bench.sockets`: an HTTP driver on bare asyncio sockets, closed loop or at a constant rate.

A job on stdin, a Load on stdout. The closed loop stands in for wrk where that is missing and costs several times its
processor time; the constant rate counts latency from the moment a request was due, not from when it could be sent.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import cast

import uvloop

from retort_cli.bench.driver import run_load
from retort_cli.bench.load import Load, measured
from retort_cli.bench.texts import body

NAME = "asyncio sockets"
ANSWER_TIMEOUT_S = 10.0
MAX_OPEN = 512


@dataclass(frozen=True)
class Job:
    """`rate` 0: closed loop with `connections`; else so many requests a second on as many connections as it takes."""

    port: int
    texts: list[str]
    start: int
    seconds: float
    connections: int = 1
    rate: float = 0.0


@dataclass(frozen=True)
class Sockets:
    """Drives /predict in a process of its own."""

    folder: Path
    texts: list[str]
    starts: "count[int]"
    name: str = NAME

    def load(self, port: int, connections: int, seconds: int) -> Load:
        """Keep `connections` requests in flight for `seconds`."""
        return self._run(Job(port, self.texts, next(self.starts), seconds, connections))

    def load_at(self, port: int, rate: float, seconds: int) -> Load:
        """Send `rate` requests a second for `seconds`, whatever the answers do."""
        return self._run(Job(port, self.texts, next(self.starts), seconds, rate=rate))

    def _run(self, job: Job) -> Load:
        return run_load("retort_cli.bench.sockets", asdict(job), self.folder, job.seconds + 60)


class Connection(asyncio.Protocol):
    """A kept-alive connection with one request in flight at most."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        status = answered(self._received)
        if status is not None and self._answer is not None and not self._answer.done():
            self._received.clear()
            self._answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def ask(self, text: str) -> int:
        """Send a text, return the status. Raises OSError or TimeoutError; close the connection then."""
        content = body(text)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
        )
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await self._answer

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


def answered(received: bytes | bytearray) -> int | None:
    """Return the status once `received` holds a whole answer with a Content-Length."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return int(head[9:12]) if len(received) >= end + 4 + length else None


@dataclass
class Tally:
    """What has been answered, and the connections that wait for work."""

    port: int
    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    idle: list[Connection] = field(default_factory=list)

    async def ask(self, text: str, since_s: float) -> None:
        """Send a text on an idle or a new connection and note how long after `since_s` the answer came."""
        connection = self.idle.pop() if self.idle else await self._connect()
        if connection is None:
            return
        try:
            status = await connection.ask(text)
        except (OSError, TimeoutError):
            self.errors += 1
            connection.close()
            return
        self.idle.append(connection)
        if status == 200:
            self.latencies_ms.append((time.perf_counter() - since_s) * 1e3)
        else:
            self.errors += 1

    async def _connect(self) -> Connection | None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
        except OSError:
            self.errors += 1
            await asyncio.sleep(0.01)  # a server that is gone must not be asked in a tight loop
            return None
        return connection


async def drive(job: Job) -> Load:
    """Do the job."""
    tally = Tally(job.port)
    texts = (f"{job.texts[number % len(job.texts)]} {number}" for number in count(job.start))
    started_s = time.perf_counter()
    if job.rate:
        await _constant(job, tally, texts, started_s)
    else:
        end_s = started_s + job.seconds
        await asyncio.gather(*(_caller(tally, texts, end_s) for _ in range(job.connections)))
    seconds = time.perf_counter() - started_s
    for connection in tally.idle:
        connection.close()
    command = (
        f"{job.rate:g} requests/s for {job.seconds:g} s" if job.rate else f"-c{job.connections} -d{job.seconds:g}s"
    )
    connections = len(tally.idle) if job.rate else job.connections
    return measured(NAME, f"{NAME}: {command}", connections, seconds, tally.latencies_ms, tally.errors)


async def _caller(tally: Tally, texts: Iterator[str], end_s: float) -> None:
    while (now_s := time.perf_counter()) < end_s:
        await tally.ask(next(texts), now_s)


async def _constant(job: Job, tally: Tally, texts: Iterator[str], started_s: float) -> None:
    room = asyncio.Semaphore(MAX_OPEN)

    async def ask(due_s: float) -> None:
        async with room:
            await tally.ask(next(texts), due_s)

    async with asyncio.TaskGroup() as group:
        for number in range(round(job.rate * job.seconds)):
            due_s = started_s + number / job.rate
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            group.create_task(ask(due_s))


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(drive(Job(**json.load(sys.stdin)))))))
