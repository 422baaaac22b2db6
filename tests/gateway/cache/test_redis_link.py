"""The link: whoever answers there, a request pays a few milliseconds once, and then nothing."""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cache.redis_link import TIMEOUT_S, RedisLink
from gateway.metrics import Metrics
from tests.gateway.redis_server import MISSING, SERVER, redis_server
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(SERVER is None, reason=MISSING)
# Cancelled while it connects, asyncio leaves the socket to the garbage collector, which says so.
CUT_CONNECTS = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
GARBAGE = {
    "noise": os.urandom(4096),
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "wrong types": b":no number\r\n$x\r\n*-7\r\n%1\r\n*0\r\n:1\r\n",
    "a value that never comes": b"$1000000\r\nabc",
    "an endless list": b"*1000000000\r\n" + b":1\r\n" * 1000,
    "nothing": b"",
}


@pytest.fixture
def port() -> int:
    """Where the test's Redis listens."""
    (found,) = free_ports(1)
    return found


@asynccontextmanager
async def connected(port: int, password: str = "") -> AsyncIterator[tuple[RedisLink, Metrics]]:
    """A link."""
    metrics = Metrics()
    link = RedisLink(f"redis://:{password}@127.0.0.1:{port}/0", metrics)
    try:
        yield link, metrics
    finally:
        await link.close()


async def test_many_commands_one_answer_each_and_a_refusal_is_one_of_them(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, "secret"):
        async with connected(port, "secret") as (link, metrics):
            await link.probe()
            answers = await link.work([("SET", "a", b"\x00\xff"), ("NONSENSE",), ("GET", "a"), ("LPUSH", "a", "x")])
            assert answers is not None
            assert [type(answer).__name__ for answer in answers] == ["bool", "ResponseError", "bytes", "ResponseError"]
            assert answers[2] == b"\x00\xff"
            assert await link.ask([("GET", "a"), ("GET", "b")], timeout_s=1) == [b"\x00\xff", None]
            assert not link.is_open
            assert metrics.registry.get_sample_value("retort_redis_errors_total") == 0


async def test_a_stopped_redis_costs_three_short_waits_and_only_a_quick_answer_brings_it_back(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path, port) as running:
        async with connected(port) as (link, _):
            await link.probe()
            running.send_signal(signal.SIGSTOP)
            for _ in range(3):
                assert not link.is_open
                started_s = time.monotonic()
                assert await link.ask([("GET", "a")]) is None
                assert time.monotonic() - started_s < TIMEOUT_S + 0.2
            assert link.is_open
            started_s = time.monotonic()
            assert [await link.ask([("GET", "a")]) for _ in range(1000)] == [None] * 1000
            assert time.monotonic() - started_s < 100 * TIMEOUT_S
            running.send_signal(signal.SIGCONT)
            assert await link.work([("GET", "a")]) == [None]
            assert link.is_open  # patience proves nothing
            with caplog.at_level(logging.INFO):
                for _ in range(20):
                    await link.probe()
            assert not link.is_open
            assert await link.ask([("GET", "a")], timeout_s=1) == [None]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
async def test_whoever_does_not_speak_redis_is_left_alone(port: int, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port), connected(port) as (link, metrics):
        for _ in range(3):
            assert await link.ask([("GET", "a"), ("VSIM", "b")], timeout_s=0.05) in (None, [])
        assert link.is_open
        assert metrics.registry.get_sample_value("retort_redis_errors_total") == 3


async def test_a_wrong_password_is_told_once(tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path, port, "secret"):
        async with connected(port, "wrong") as (link, _):
            for _ in range(6):
                await link.probe()
            assert link.is_open
    assert [record.message for record in caplog.records] == [
        "Redis does not answer (AuthenticationError): each gateway caches alone"
    ]
    assert "secret" not in caplog.text


@CUT_CONNECTS
async def test_a_caller_who_leaves_does_not_mix_up_the_answers(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port) as running:
        async with connected(port) as (link, _):
            await link.work([("MSET", "a", "1", "b", "2")])
            for pause_s in (0, 0.0005, 0.003):
                running.send_signal(signal.SIGSTOP)
                leaving = asyncio.create_task(link.ask([("GET", "a"), ("GET", "a")], timeout_s=1))
                await asyncio.sleep(pause_s)
                leaving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await leaving
                running.send_signal(signal.SIGCONT)
                assert await link.work([("GET", "b"), ("GET", "b")]) == [b"2", b"2"]
    gc.collect()


@CUT_CONNECTS
async def test_no_cancellation_is_lost(tmp_path: Path, port: int) -> None:
    async def ask_for_ever(link: RedisLink) -> None:
        while True:
            await link.work([("PING",)])

    with redis_server(tmp_path, port):
        async with connected(port) as (link, _):
            for number in range(200):
                asking = asyncio.create_task(ask_for_ever(link))
                await asyncio.sleep(number * 2e-5)
                asking.cancel()
                done, _ = await asyncio.wait([asking], timeout=5)
                assert done
    gc.collect()
