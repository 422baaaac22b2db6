"""The way into Redis: bounded, with a time to live on everything, and never in anybody's way."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.cache import redis_writer
from gateway.cache.redis_link import RedisLink
from gateway.cache.redis_names import SCOPES, Names
from gateway.cache.redis_writer import MAX_QUEUE, RedisWriter, Writing
from gateway.metrics import Metrics
from tests.gateway.cache.stores import SCOPE, key, until, vector
from tests.gateway.redis_server import MISSING_8, SERVER_8, redis_server
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(SERVER_8 is None, reason=MISSING_8)
NAMES = Names.of(SCOPE, 0)
TTL_S = 60.0


@pytest.fixture
def port() -> int:
    """Where the test's Redis listens."""
    (found,) = free_ports(1)
    return found


@asynccontextmanager
async def writing(port: int, *, max_elements: int = 1000) -> AsyncIterator[tuple[RedisWriter, RedisLink, Metrics]]:
    """A writer that writes."""
    metrics = Metrics()
    link = RedisLink(f"redis://127.0.0.1:{port}", metrics)
    writer = RedisWriter(link, metrics, ttl_s=TTL_S, max_elements=max_elements)
    running = asyncio.create_task(writer.run())
    try:
        yield writer, link, metrics
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await link.close()


def one(seed: int, *, with_vector: bool = True, value: bytes = b"value") -> Writing:
    """Something to write."""
    return Writing(NAMES, b"scope", key(seed), value, vector(seed) if with_vector else None)


def dropped(metrics: Metrics, reason: str) -> float | None:
    """How many were dropped."""
    labels = {"tier": "redis", "reason": reason}
    return metrics.registry.get_sample_value("retort_cache_dropped_total", labels)


async def test_everything_is_written_small_and_with_a_time_to_live(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with writing(port) as (writer, link, _):
            writer.put(one(1))
            writer.put(one(2, with_vector=False))
            await writer.settled()
            answers = await link.work(
                [
                    ("GET", NAMES.exact(key(1))),
                    ("GET", NAMES.exact(key(2))),
                    ("VCARD", NAMES.vectors),
                    ("VGETATTR", NAMES.vectors, key(1)),
                    ("VINFO", NAMES.vectors),
                    ("ZRANGE", SCOPES, 0, -1),
                    *[("PTTL", name) for name in (NAMES.exact(key(1)), NAMES.exact(key(2)), NAMES.vectors)],
                ]
            )
            assert answers is not None
            assert answers[:4] == [b"value", b"value", 1, b"value"]
            assert b"int8" in answers[4]
            assert answers[5] == [b"scope"]
            assert all(0.9 * TTL_S * 1000 < ttl_ms <= TTL_S * 1000 for ttl_ms in answers[6:])


async def test_adding_renews_a_sets_time_to_live(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with writing(port) as (writer, link, _):
            writer.put(one(1))
            await writer.settled()
            await link.work([("PEXPIRE", NAMES.vectors, 500)])
            writer.put(one(2))
            await writer.settled()
            answers = await link.work([("PTTL", NAMES.vectors)])
            assert answers is not None
            assert answers[0] > 50_000


async def test_a_set_stays_within_its_cap(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with writing(port, max_elements=100) as (writer, link, _):
            sizes = []
            for start in range(0, 600, 50):
                for seed in range(start, start + 50):
                    writer.put(one(seed))
                await writer.settled()
                sizes += await link.work([("VCARD", NAMES.vectors)]) or []
            assert sizes[0] == 50
            assert all(90 <= size <= 108 for size in sizes[2:])


async def test_what_does_not_fit_the_queue_is_dropped_and_counted(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_writer, "BACK_OFF_S", 0.01)
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with writing(port) as (writer, link, metrics):
            started_s = time.monotonic()
            for seed in range(MAX_QUEUE + 9):
                writer.put(one(seed, with_vector=False))
            assert time.monotonic() - started_s < 1
            assert dropped(metrics, "queue_full") == 9
            await writer.settled()
            assert await link.work([("DBSIZE",)]) == [MAX_QUEUE + 1]  # and the scopes


@pytest.mark.parametrize(
    ("refusing", "recovering"),
    [
        ([("CONFIG", "SET", "maxmemory", "1")], [("CONFIG", "SET", "maxmemory", "0")]),
        ([("CONFIG", "SET", "min-replicas-to-write", "1")], [("CONFIG", "SET", "min-replicas-to-write", "0")]),
        ([("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
    ],
    ids=["out of memory", "too few replicas", "read-only"],
)
async def test_a_redis_that_refuses_is_asked_seldom_and_fills_again_afterwards(
    tmp_path: Path, port: int, refusing: list[tuple[str, ...]], recovering: list[tuple[str, ...]]
) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with writing(port) as (writer, link, metrics):
            await link.work(refusing)
            for seed in range(100):
                writer.put(one(seed))
            await asyncio.sleep(0.5)
            count = dropped(metrics, "refused") or 0
            assert 4 <= count <= 80  # four a time, with growing pauses
            assert not link.is_open  # reading goes on
            await link.work(recovering)
            await writer.settled()
            writer.put(one(1000))
            await writer.settled()
            assert await link.work([("GET", NAMES.exact(key(1000)))]) == [b"value"]


async def test_a_redis_that_evicts_goes_on(tmp_path: Path, port: int) -> None:
    options = ("--maxmemory", "4mb", "--maxmemory-policy", "volatile-lru")
    with redis_server(tmp_path, port, "", *options, binary=SERVER_8):
        async with writing(port, max_elements=10**6) as (writer, link, metrics):
            await link.work([("SET", "route", "kept")])
            for start in range(0, 8000, 500):
                for seed in range(start, start + 500):
                    writer.put(one(seed, with_vector=seed % 4 == 0, value=bytes(1000)))
                await writer.settled()
            assert dropped(metrics, "refused") == 0
            assert await link.work([("GET", "route"), ("GET", NAMES.exact(key(7999)))]) == [b"kept", bytes(1000)]


async def test_nothing_is_queued_for_a_redis_that_is_away(port: int) -> None:
    async with writing(port) as (writer, link, metrics):
        for _ in range(3):
            await link.ask([("PING",)], timeout_s=1)
        writer.put(one(1))
        assert dropped(metrics, "redis_away") == 1
        await asyncio.wait_for(writer.settled(), 1)


async def test_a_redis_that_goes_away_meanwhile_costs_what_was_under_way(port: int) -> None:
    async with writing(port) as (writer, _, metrics):
        writer.put(one(1))
        await until(lambda: dropped(metrics, "redis_away") == 1)
