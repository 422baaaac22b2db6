"""The body: bounded in bytes and time; a caller who leaves ends the work."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from starlette.types import Message

from gateway.errors import SlowRequestError, TooLargeError
from gateway.http.body import Body


class Caller:
    """Sends chunks, then waits until `leave` is set and disconnects."""

    def __init__(self, chunks: Sequence[bytes], *, finishes: bool = True) -> None:
        self._chunks, self._finishes = list(chunks), finishes
        self.leave = asyncio.Event()

    async def receive(self) -> Message:
        """Return the next message."""
        if self._chunks:
            chunk = self._chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks) or not self._finishes}
        await self.leave.wait()
        return {"type": "http.disconnect"}


def body(caller: Caller, *, max_bytes: int = 10, seconds: float = 5.0) -> Body:
    """Its body."""
    return Body(caller.receive, max_bytes=max_bytes, deadline_s=time.monotonic() + seconds)


async def test_passes_messages_on() -> None:
    incoming = body(Caller([b"12345", b"67890"]))
    assert [(await incoming.receive())["body"] for _ in range(2)] == [b"12345", b"67890"]
    incoming.close()


async def test_counts_bytes_over_all_chunks() -> None:
    incoming = body(Caller([b"12345", b"678901"]))
    await incoming.receive()
    with pytest.raises(TooLargeError, match="larger than the 10 bytes"):
        await incoming.receive()
    incoming.close()


async def test_a_body_that_does_not_come_is_an_error() -> None:
    incoming = body(Caller([b"1"], finishes=False), seconds=0.05)
    await incoming.receive()
    with pytest.raises(SlowRequestError):
        await incoming.receive()
    incoming.close()


async def test_a_caller_who_leaves_cancels_the_work() -> None:
    caller = Caller([b"1"])
    ended: list[str] = []

    async def work() -> None:
        incoming = body(caller)
        try:
            await incoming.receive()
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            assert incoming.abandoned
            ended.append("cancelled")
        finally:
            incoming.close()

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    caller.leave.set()
    await asyncio.wait_for(task, 1)
    assert ended == ["cancelled"]
    assert task.cancelling() == 0


async def test_nobody_watches_after_the_end() -> None:
    before = len(asyncio.all_tasks())
    incoming = body(Caller([b"1"]))
    await incoming.receive()
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == before + 1
    incoming.close()
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == before
