"""The Python HTTP driver: closed loop and constant rate against a real server that is slow or refuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from retort_cli.bench.sockets import Job, answered, drive

Answer = Callable[[], Awaitable[bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", 200),
        (b"HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n", 429),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    ],
)
def test_an_answer_is_whole_when_its_length_is_there(received: bytes, status: int | None) -> None:
    assert answered(received) == status


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer every request with `answer`; yields the port and the bodies that came."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                reply = await answer()
                if not reply:
                    break
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], bodies


async def test_the_closed_loop_keeps_its_connections_busy() -> None:
    async def slow() -> bytes:
        await asyncio.sleep(0.05)
        return OK

    async with server(slow) as (port, bodies):
        load = await drive(Job(port, ["x", "y"], start=7, seconds=0.5, connections=4))
    assert 4 * 5 <= load.requests <= 4 * 11
    assert load.errors == 0
    assert load.p50_ms >= 50
    assert bodies[0] == b'{"text": "y 7"}'
    assert len(set(bodies)) == len(bodies) == load.requests


async def test_a_constant_rate_counts_the_time_that_requests_waited() -> None:
    began_s = time.monotonic()

    async def stalled_at_first() -> bytes:
        await asyncio.sleep(max(0.0, began_s + 0.4 - time.monotonic()))
        return OK

    async with server(stalled_at_first) as (port, _):
        load = await drive(Job(port, ["x"], 0, seconds=0.8, rate=50))
    assert load.requests == 40
    assert load.p99_ms > 250  # a closed loop would have sent one request into the stall
    assert load.p50_ms < 250
    assert load.connections > 5


@pytest.mark.parametrize("reply", [b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", b""], ids=["refused", "cut off"])
async def test_what_is_not_answered_well_is_an_error(reply: bytes) -> None:
    async def refuse() -> bytes:
        await asyncio.sleep(0.01)
        return reply

    async with server(refuse) as (port, _):
        load = await drive(Job(port, ["x"], 0, seconds=0.2, connections=1))
    assert load.requests == 0
    assert load.errors > 0


async def test_a_server_that_is_gone_is_an_error_too() -> None:
    async with server(lambda: asyncio.sleep(0, OK)) as (port, _):
        pass
    load = await drive(Job(port, ["x"], 0, seconds=0.1, connections=1))
    assert (load.requests, load.errors > 0) == (0, True)
