"""Shared buckets against a real redis-server: counted together, and never in the way when it is not there."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.caller import Rate
from gateway.errors import SettingsError
from gateway.metrics import Metrics
from gateway.security.redis_buckets import PREFIX, TIMEOUT_S, RedisBuckets
from tests.gateway.conftest import until
from tests.gateway.redis_server import MISSING, SERVER, redis_server
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(SERVER is None, reason=MISSING)


@pytest.fixture
def port() -> int:
    """Where the test's Redis listens."""
    (found,) = free_ports(1)
    return found


@asynccontextmanager
async def buckets(port: int, password: str = "", *, watch: bool = True) -> AsyncIterator[tuple[RedisBuckets, Metrics]]:
    """Buckets that watch their Redis."""
    metrics = Metrics()
    made = RedisBuckets(f"redis://:{password}@127.0.0.1:{port}/0", metrics)
    watching = asyncio.create_task(made.watch()) if watch else None
    await asyncio.sleep(0.1)  # connections are warm
    yield made, metrics
    if watching is not None:
        assert not watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await made.close()


async def test_gateways_count_together_and_to_the_last_request(tmp_path: Path, port: int) -> None:
    rate = Rate(0.1, 20)
    with redis_server(tmp_path, port, "secret"):
        async with buckets(port, "secret") as (one, _), buckets(port, "secret") as (two, _):
            waits = []
            for _ in range(4):
                waits += await asyncio.gather(
                    *(gateway.take("alice", rate) for gateway in (one, two) for _ in range(4))
                )
            assert sum(wait_s == 0 for wait_s in waits) == 20
            assert all(wait_s is not None and 9 < wait_s <= 10 for wait_s in waits if wait_s != 0)
            assert await one.take("bob", rate) == 0
            ttl_ms = await one._redis.pttl(PREFIX + "alice")
            assert 190_000 < ttl_ms <= 200_001


async def test_a_bucket_fills_again(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with buckets(port) as (one, _):
            assert await one.take("alice", Rate(5, 1)) == 0
            wait_s = await one.take("alice", Rate(5, 1))
            assert wait_s is not None
            assert 0 < wait_s <= 0.2
            await asyncio.sleep(wait_s + 0.01)
            assert await one.take("alice", Rate(5, 1)) == 0


async def test_a_key_with_a_new_rate_waits_no_longer_than_that_rate_says(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with buckets(port) as (one, _):
            assert [await one.take("alice", Rate(0.01, 2)) for _ in range(2)] == [0, 0]
            assert 0 < (await one.take("alice", Rate(5, 1)) or 0) <= 0.201
            await asyncio.sleep(0.21)
            assert await one.take("alice", Rate(5, 1)) == 0


async def test_a_redis_that_is_stopped_costs_milliseconds_then_nothing_and_is_found_again(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path, port) as running:
        async with buckets(port) as (one, metrics):
            assert await one.take("alice", Rate(1, 100)) == 0
            running.send_signal(signal.SIGSTOP)
            for _ in range(3):
                started_s = time.monotonic()
                assert await one.take("alice", Rate(1, 100)) is None
                assert time.monotonic() - started_s < TIMEOUT_S + 0.2
            assert one.state == "breaker open"
            assert (metrics.registry.get_sample_value("retort_redis_errors_total") or 0) >= 3
            started_s = time.monotonic()
            for _ in range(1000):
                assert await one.take("alice", Rate(1, 100)) is None
            assert time.monotonic() - started_s < TIMEOUT_S * 100  # a thousand that waited would take 10 s
            running.send_signal(signal.SIGCONT)

            async def is_back() -> bool:
                return one.state == "in use"

            with caplog.at_level(logging.INFO):
                await until(is_back)
            assert await one.take("alice", Rate(1, 100)) == 0
            assert "rate limits are shared again" in caplog.text


async def test_a_redis_that_is_not_there_is_told_once(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with buckets(port) as (one, _):

            async def is_open() -> bool:
                return one.state == "breaker open"

            await until(is_open)
            await asyncio.sleep(1)
            assert await one.take("alice", Rate(1, 1)) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_caller_who_leaves_does_not_mix_up_the_answers(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port) as running:
        async with buckets(port, watch=False) as (one, _):
            assert await one.take("full", Rate(0.01, 1)) == 0
            running.send_signal(signal.SIGSTOP)
            leaving = asyncio.create_task(one.take("full", Rate(0.01, 1)))
            await asyncio.sleep(0.003)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            running.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.05)
            assert await one.take("fresh", Rate(0.01, 1)) == 0


def test_a_wrong_address_is_named_without_its_password() -> None:
    with pytest.raises(SettingsError, match="RETORT_REDIS_URL must be redis://") as refused:
        RedisBuckets("http://:secret@redis", Metrics())
    assert "secret" not in str(refused.value)
