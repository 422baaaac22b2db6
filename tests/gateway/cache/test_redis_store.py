"""The store in Redis under faults of a real Redis: never an error, a few milliseconds once, and back by itself."""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.cache.redis_link import TIMEOUT_S, Command
from gateway.cache.redis_lookup import ATTRIBUTES_SINCE
from gateway.cache.redis_names import EPOCHS, PREFIX, Names
from gateway.cache.scope import Scope, Selection
from gateway.cache.store import NOTHING, Addition, Found, Query
from tests.gateway.cache.stores import (
    SCOPE,
    Watched,
    addition,
    entry,
    fill,
    key,
    nearest,
    redis_store,
    until,
    vector,
)
from tests.gateway.redis_server import MISSING_7, MISSING_8, SERVER_7, SERVER_8, redis_server
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(SERVER_8 is None, reason=MISSING_8)
QUERY = Query(key(1), vector(1))


@pytest.fixture
def port() -> int:
    """Where the test's Redis listens."""
    (found,) = free_ports(1)
    return found


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test that measures a request's patience is about a machine that is not busy."""
    monkeypatch.setattr("gateway.cache.redis_store.TIMEOUT_S", 2.0)


async def found_again(watched: Watched, seconds: float = 5.0) -> None:
    """Wait until the first text is found, exactly and among the neighbours."""
    async with asyncio.timeout(seconds):
        while True:
            (found,) = await watched.store.look_up(SCOPE, [QUERY])
            if found.exact == entry(1) and [neighbour.entry for neighbour in found.neighbours] == [entry(1)]:
                return
            await asyncio.sleep(0.005)


async def lookups_cost_nothing(watched: Watched) -> None:
    """A thousand look-ups that waited would take eight seconds."""
    started_s = time.monotonic()
    for _ in range(1000):
        assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
        watched.store.add(SCOPE, [addition(1)])
    assert time.monotonic() - started_s < 1


async def test_exact_and_semantic_are_one_round_trip(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            sent: list[Sequence[Command]] = []
            ask = watched.store._link.ask

            async def counted(commands: Sequence[Command], timeout_s: float = TIMEOUT_S) -> list[Any] | None:
                sent.append(commands)
                return await ask(commands, timeout_s)

            watched.store._link.ask = counted  # type: ignore[method-assign]
            await watched.store.look_up(SCOPE, [QUERY, Query(key(2), vector(2)), Query(key(3))])
            assert [command[0] for command in sent[0]] == ["MGET", "VSIM", "VSIM"]
            assert len(sent) == (1 if watched.store._version >= ATTRIBUTES_SINCE else 2)


async def test_a_stopped_redis(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cache.redis_store.TIMEOUT_S", TIMEOUT_S)
    with redis_server(tmp_path, port, binary=SERVER_8) as running:
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            running.send_signal(signal.SIGSTOP)
            costs_s = []
            while watched.store.state != "away":
                started_s = time.monotonic()
                assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
                costs_s.append(time.monotonic() - started_s)
            assert len(costs_s) <= 4
            assert max(costs_s) < TIMEOUT_S + 0.2
            await lookups_cost_nothing(watched)
            assert watched.metric("retort_cache_dropped_total", tier="redis", reason="redis_away") >= 900
            running.send_signal(signal.SIGCONT)
            await found_again(watched, 2)


async def test_a_killed_redis_that_comes_back_empty(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        pass  # the port is known to be good
    async with redis_store(port, wait=False) as watched:
        with redis_server(tmp_path, port, binary=SERVER_8) as running:
            await until(lambda: watched.store.state == "exact and semantic")
            await fill(watched.store, SCOPE, 1)
            running.kill()
            running.wait()
            await until(lambda: watched.store.state == "away")
            await lookups_cost_nothing(watched)
        with redis_server(tmp_path, port, binary=SERVER_8):
            await until(lambda: watched.store.state == "exact and semantic", 2)
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            await fill(watched.store, SCOPE, 1)
            await found_again(watched)


async def test_an_emptied_redis_is_a_miss_and_what_was_forgotten_stays_forgotten(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            old = Names.of(SCOPE, 0)
            dump = await watched.store._link.work([("DUMP", old.exact(key(1)))])
            assert dump is not None
            assert await watched.store.forget(Selection(digest=SCOPE.digest))
            await watched.store._link.work([("FLUSHALL",), ("RESTORE", old.exact(key(1)), 60_000, dump[0])])
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            async with redis_store(port) as late:
                epoch = watched.store._epochs.of(SCOPE)
                await until(lambda: late.store._epochs.of(SCOPE) == epoch > 0)
                assert await late.store.look_up(SCOPE, [QUERY]) == [NOTHING]


async def test_memory_is_full_reading_goes_on(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            await watched.store._link.work([("CONFIG", "SET", "maxmemory", "1")])
            watched.store.add(SCOPE, [addition(seed) for seed in range(2, 50)])
            for _ in range(20):
                await found_again(watched)
                await asyncio.sleep(0.02)
            assert watched.metric("retort_cache_dropped_total", tier="redis", reason="refused") >= 4
            assert watched.store.state == "exact and semantic"


async def test_foreign_values_under_our_names_are_misses_and_counted(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            names = Names.of(SCOPE, 0)
            vector_1 = vector(1).tobytes()
            link = watched.store._link
            await link.work(
                [("SET", names.exact(key(1)), "text"), ("VADD", names.vectors, "FP32", vector_1, "foreign")]
            )
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            await link.work([("DEL", names.vectors), ("SET", names.vectors, "x"), ("DEL", names.exact(key(1)))])
            await link.work([("LPUSH", names.exact(key(1)), "x")])
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            await link.work([("DEL", names.vectors), ("VADD", names.vectors, "VALUES", 3, 1, 2, 3, "narrow")])
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            assert watched.metric("retort_cache_malformed_total", tier="redis") == 1
            assert watched.metric("retort_cache_malformed_total", tier="semantic") == 3
            assert watched.store.state == "exact and semantic"


async def test_an_entry_under_another_tenants_name_answers_nobody(tmp_path: Path, port: int) -> None:
    bob = Scope(SCOPE.model, SCOPE.digest, "bob")
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            ours, theirs = Names.of(SCOPE, 0), Names.of(bob, 0)
            await watched.store._link.work(
                [("COPY", ours.exact(key(1)), theirs.exact(key(1))), ("COPY", ours.vectors, theirs.vectors)]
            )
            assert await watched.store.look_up(bob, [QUERY]) == [NOTHING]


async def test_a_redis_without_vector_sets_says_so_and_the_neighbours_are_those_of_this_process(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    if SERVER_7 is None:
        pytest.skip(MISSING_7)
    async with redis_store(port, wait=False) as watched:
        with caplog.at_level(logging.INFO), redis_server(tmp_path, port, binary=SERVER_7):
            await until(lambda: watched.store.state == "exact; semantic per process")
            assert "has no vector sets (8 has): the semantic cache is per process" in caplog.text
            assert watched.metric("retort_cache_vector_sets_up") == 0
            await fill(watched.store, SCOPE, 1)
            await found_again(watched)
            assert await watched.local.count(Selection()) == 1
            async with redis_store(port) as other:
                assert (await other.store.look_up(SCOPE, [QUERY]))[0].exact == entry(1)
                assert await nearest(other.store, SCOPE, vector(1)) == []
        await until(lambda: watched.store.state == "away")
        assert await watched.store.look_up(SCOPE, [QUERY]) == [
            Found(neighbours=(await watched.local.look_up(SCOPE, [QUERY]))[0].neighbours)
        ]
        with caplog.at_level(logging.INFO), redis_server(tmp_path, port, binary=SERVER_8):
            await until(lambda: watched.store.state == "exact and semantic")
            assert watched.metric("retort_cache_vector_sets_up") == 1
            assert await watched.local.count(Selection()) == 0
            assert "has vector sets: gateways share the semantic cache" in caplog.text


async def test_what_one_gateway_forgets_all_forget_within_a_second(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as one, redis_store(port) as two:
            for selection in (Selection("tiny", SCOPE.digest, "alice", key(1)), Selection(tenant="alice")):
                await fill(one.store, SCOPE, 1)
                await found_again(two)
                started_s = time.monotonic()
                assert await one.store.forget(selection)
                await until(lambda selection=selection: selection in one.forgotten and selection in two.forgotten)  # type: ignore[misc]
                assert time.monotonic() - started_s < 1
                assert await two.store.look_up(SCOPE, [QUERY]) == [NOTHING]


async def test_what_was_computed_before_and_written_after_is_not_found(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            watched.store.add(SCOPE, [addition(1)])
            watched.store._epochs.merge({Selection(model="tiny"): 1})
            await watched.store.settled()
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]


async def test_without_a_look_at_the_epochs_redis_is_not_believed(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.invalidation.STALE_S", 0.7)
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            await fill(watched.store, SCOPE, 1)
            await watched.store._link.work([("DEL", EPOCHS), ("SET", EPOCHS, "not a list")])
            await until(lambda: watched.store.state == "away")
            assert await watched.store.look_up(SCOPE, [QUERY]) == [NOTHING]
            await watched.store._link.work([("DEL", EPOCHS)])
            await found_again(watched)


async def test_every_name_has_the_prefix_and_only_the_lists_outlive_their_time(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port, binary=SERVER_8):
        async with redis_store(port) as watched:
            watched.store.add(SCOPE, [addition(1), Addition(key(2), entry(2))])
            await watched.store.settled()
            await watched.store.forget(Selection(tenant="bob"))
            await watched.store.forget(Selection(key=key(7)))
            (names,) = await watched.store._link.work([("KEYS", "*")]) or [[]]
            assert len(names) == 6
            ttls = await watched.store._link.work([("PTTL", name) for name in names]) or []
            assert all(name.startswith(PREFIX.encode()) for name in names)
            lasting = {name.decode() for name, ttl_ms in zip(names, ttls, strict=True) if ttl_ms < 0}
            assert lasting == {PREFIX + name for name in ("epochs", "texts", "scopes")}
