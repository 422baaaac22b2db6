"""Invalidation between real gateways' links: told at once, found within a second, never lost for good."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cache import invalidation
from gateway.cache.epochs import Epochs, encode
from gateway.cache.invalidation import POLL_S, Invalidation
from gateway.cache.redis_link import RedisLink
from gateway.cache.redis_names import CHANNEL, EPOCHS, TEXTS
from gateway.cache.scope import Selection
from gateway.metrics import Metrics
from tests.gateway.cache.stores import SCOPE, key, until
from tests.gateway.redis_server import MISSING, SERVER, redis_server
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(SERVER is None, reason=MISSING)
VERSION, TEXT = Selection(digest=SCOPE.digest), Selection("tiny", SCOPE.digest, "alice", key(1))


@pytest.fixture
def port() -> int:
    """Where the test's Redis listens."""
    (found,) = free_ports(1)
    return found


@dataclass
class Gateway:
    """What one gateway has of it."""

    link: RedisLink
    epochs: Epochs
    invalidation: Invalidation
    forgotten: list[Selection]


@asynccontextmanager
async def gateway(port: int, *, listens: bool = True, polls: bool = True) -> AsyncIterator[Gateway]:
    """A gateway that listens and polls."""
    link, epochs, forgotten = RedisLink(f"redis://127.0.0.1:{port}", Metrics()), Epochs(), list[Selection]()
    made = Gateway(link, epochs, Invalidation(link, epochs, forgotten.append), forgotten)

    async def poll() -> None:
        while True:
            await made.invalidation.poll()
            await made.invalidation.wait(POLL_S)

    tasks = [asyncio.create_task(made.invalidation.listen())] if listens else []
    tasks += [asyncio.create_task(poll())] if polls else []
    try:
        yield made
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.close()


async def listening(link: RedisLink, count: int) -> None:
    """Wait until so many gateways listen."""
    async with asyncio.timeout(5):
        while await link.work([("PUBLISH", CHANNEL, "hello")]) != [count]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("selection", [VERSION, TEXT])
async def test_a_message_reaches_everybody_at_once(tmp_path: Path, port: int, selection: Selection) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port) as one, gateway(port) as two:
            await listening(one.link, 2)
            started_s = time.monotonic()
            assert await one.invalidation.announce(selection)
            assert one.forgotten == [selection]
            await until(lambda: selection in two.forgotten)
            assert time.monotonic() - started_s < POLL_S / 2
            assert two.epochs.of(SCOPE) == one.epochs.of(SCOPE)
            assert (one.epochs.of(SCOPE) > 0) == (selection is VERSION)


@pytest.mark.parametrize("selection", [VERSION, TEXT])
async def test_a_lost_message_is_made_up_for_within_a_second(tmp_path: Path, port: int, selection: Selection) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port) as one, gateway(port, listens=False) as deaf:
            await until(lambda: deaf.invalidation.is_current)
            started_s = time.monotonic()
            await one.invalidation.announce(selection)
            await until(lambda: selection in deaf.forgotten)
            assert time.monotonic() - started_s < 1


async def test_what_is_read_just_before_is_forgotten_by_the_second_time(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port, polls=False) as one, gateway(port, polls=False) as two:
            for selection in (VERSION, TEXT):
                await one.invalidation.announce(selection)
                await two.invalidation.poll()
                assert one.forgotten == two.forgotten == [selection]
                await until(lambda: len(one.forgotten) == len(two.forgotten) == 2, 1)
                assert one.forgotten == two.forgotten == [selection] * 2
                one.forgotten.clear()
                two.forgotten.clear()


async def test_epochs_of_many_are_all_different(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port) as one, gateway(port) as two:
            selections = [Selection(model, tenant=str(tenant)) for model in "ab" for tenant in range(20)]
            await asyncio.gather(
                *(side.invalidation.announce(some) for side, some in zip([one, two] * 20, selections, strict=True))
            )
            scores = await one.link.work([("ZRANGE", EPOCHS, 0, -1, "WITHSCORES")])
            assert scores is not None
            assert len(set(scores[0][1::2])) == len(selections)
            await until(lambda: len(one.epochs) == len(two.epochs) == len(selections))


async def test_an_emptied_redis_is_told_again(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(gateway(port))
            await one.invalidation.announce(VERSION)
            await one.invalidation.poll()
            await one.link.work([("FLUSHALL",)])
            async with gateway(port) as late:
                await until(lambda: late.epochs.of(SCOPE) == one.epochs.of(SCOPE) > 0)


@pytest.mark.parametrize("selection", [VERSION, TEXT])
async def test_who_could_not_tell_tells_later(tmp_path: Path, port: int, selection: Selection) -> None:
    async with gateway(port, polls=False) as one:
        assert not await one.invalidation.announce(selection)
        assert one.forgotten == [selection]
        assert not await one.invalidation.poll()
        with redis_server(tmp_path, port):
            assert await one.invalidation.poll()
            async with gateway(port) as two:
                await until(lambda: selection in two.forgotten)


async def test_who_was_away_for_long_forgets_everything(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port, polls=False, listens=False) as one:
            await one.invalidation.poll()
            await one.invalidation.poll()
            assert one.forgotten == []
            assert one.invalidation.is_current
            monkeypatch.setattr(invalidation, "FORGET_AFTER_S", 0.01)
            monkeypatch.setattr(invalidation, "STALE_S", 0.01)
            await asyncio.sleep(0.02)
            assert not one.invalidation.is_current
            await one.invalidation.poll()
            assert one.forgotten == [Selection()]


async def test_the_list_of_texts_does_not_grow_for_ever(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invalidation, "TEXTS_KEPT_S", 0.01)
    with redis_server(tmp_path, port):
        async with gateway(port, polls=False) as one:
            for seed in range(5):
                await one.invalidation.announce(Selection(key=key(seed)))
                await asyncio.sleep(0.02)
            assert await one.link.work([("ZCARD", TEXTS)]) == [1]


async def test_foreign_members_are_passed_over(tmp_path: Path, port: int) -> None:
    with redis_server(tmp_path, port):
        async with gateway(port, polls=False) as one:
            await one.link.work([("ZADD", EPOCHS, 5, "nonsense", "inf", encode(VERSION), 7, encode(Selection("m")))])
            await one.link.work([("ZADD", TEXTS, 5, b"\xff")])
            assert await one.invalidation.poll()
            assert one.forgotten == [Selection("m")]
            await one.link.work([("DEL", EPOCHS), ("SET", EPOCHS, "text")])
            assert not await one.invalidation.poll()
