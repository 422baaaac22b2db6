"""The channel: questions are answered side by side, errors cross it, an end is noticed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.workers.channel import Channel


class Peer:
    """The other end: doubles what it is asked."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.slow = asyncio.Event()

    async def answer(self, what: str, value: Any) -> Any:
        self.heard.append((what, value))
        match what:
            case "slow":
                await self.slow.wait()
            case "wrong":
                raise SettingsError("line 3 is wrong")
        return value * 2 if value else None


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel, Peer, "asyncio.Task[None]"]]:
    """Both channels, running; the second answers as Peer; the task is the first's."""
    one, other = (Channel(end) for end in socket.socketpair())
    await one.open()
    await other.open()
    peer = Peer()
    running = asyncio.create_task(one.run(peer.answer))
    others = asyncio.create_task(other.run(peer.answer))
    yield one, other, peer, running
    for channel in (one, other):
        channel.close()
    await asyncio.gather(running, others)


Ends = tuple[Channel, Channel, Peer, "asyncio.Task[None]"]


async def test_both_ends_ask_and_one_slow_answer_holds_nobody_up(ends: Ends) -> None:
    one, other, peer, _ = ends
    slow = asyncio.create_task(one.ask("slow", 1, timeout_s=5))
    assert await one.ask("quick", "ab\n", timeout_s=5) == "ab\nab\n"
    assert await other.ask("quick", 21, timeout_s=5) == 42
    assert not slow.done()
    peer.slow.set()
    assert await slow == 2


async def test_what_is_told_arrives_in_order(ends: Ends) -> None:
    one, other, peer, _ = ends
    for number in range(20):
        one.tell("count", number)
    await one.ask("last", timeout_s=5)
    assert [value for what, value in peer.heard if what == "count"] == list(range(20))
    assert await other.ask("still there", 1, timeout_s=5) == 2


async def test_a_settings_error_crosses(ends: Ends) -> None:
    with pytest.raises(SettingsError, match="line 3 is wrong"):
        await ends[0].ask("wrong", timeout_s=5)


async def test_silence_is_a_timeout_and_a_late_answer_is_nobodys(ends: Ends) -> None:
    one, _, peer, _ = ends
    with pytest.raises(TimeoutError):
        await one.ask("slow", timeout_s=0.02)
    peer.slow.set()
    assert await one.ask("quick", 1, timeout_s=5) == 2


async def test_an_end_is_noticed_by_who_runs_who_waits_and_who_asks_later(ends: Ends) -> None:
    one, other, _, running = ends
    waiting = asyncio.create_task(one.ask("slow", timeout_s=5))
    await asyncio.sleep(0.02)
    other.close()
    with pytest.raises(ConnectionError):
        await waiting
    await asyncio.wait_for(running, 5)
    with pytest.raises(ConnectionError):
        await one.ask("quick", timeout_s=5)
    one.tell("lost")


async def test_a_message_may_be_large(ends: Ends) -> None:
    assert len(await ends[0].ask("echo", "x" * 3_000_000, timeout_s=20)) == 6_000_000
