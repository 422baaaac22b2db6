"""Buckets in memory: exact over processes, and no process can hold the others up."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.caller import Rate
from gateway.security import memory_buckets
from gateway.security.memory_buckets import MemoryBuckets, allocate
from tests.gateway.processes import SERVICES, environment

RATE = Rate(50.0, 10)
HAMMER = f"""
import asyncio, sys, time
from gateway.caller import Rate
from gateway.security.memory_buckets import MemoryBuckets

async def main():
    buckets, asked, passed, unknown = MemoryBuckets(int(sys.argv[1])), 0, 0, 0
    end_s = float(sys.argv[2])
    while time.monotonic() < end_s:
        wait_s = await buckets.take("alice", Rate({RATE.per_s}, {RATE.burst}))
        asked += 1
        passed += wait_s == 0
        unknown += wait_s is None
    print(asked, passed, unknown)

asyncio.run(main())
"""
HOLD = "import fcntl, sys, time; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print('held', flush=True); time.sleep(9)"


@pytest.fixture
def table() -> Iterator[int]:
    """An empty table."""
    made = allocate()
    yield made
    os.close(made)


def start(code: str, table: int, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, str(table), *arguments]
    return subprocess.Popen(command, env=environment(), pass_fds=[table], stdout=subprocess.PIPE, text=True)


def test_processes_share_one_bucket(table: int) -> None:
    started_s = time.monotonic()
    end_s = started_s + 3
    hammers = [start(HAMMER, table, str(end_s)) for _ in range(3)]
    counts = [[int(count) for count in hammer.communicate(timeout=30)[0].split()] for hammer in hammers]
    took_s = time.monotonic() - started_s
    asked, passed, unknown = (sum(column) for column in zip(*counts, strict=True))
    assert unknown <= asked / 1000
    assert passed <= RATE.burst + RATE.per_s * took_s
    assert passed >= RATE.burst + RATE.per_s * 1.0  # they were busy for a second at least


async def test_names_have_buckets_of_their_own_which_others_see(table: int) -> None:
    one, other = MemoryBuckets(table), MemoryBuckets(table)
    rate = Rate(0.01, 2)
    assert [await one.take("alice", rate), await other.take("alice", rate)] == [0, 0]
    assert 99 < (await one.take("alice", rate) or 0) <= 100
    assert 99 < (await other.take("alice", rate) or 0) <= 100
    assert await other.take("bob", rate) == 0


async def test_a_key_with_a_new_rate_waits_no_longer_than_that_rate_says(table: int) -> None:
    buckets = MemoryBuckets(table)
    assert [await buckets.take("alice", Rate(0.01, 2)) for _ in range(2)] == [0, 0]
    assert 0 < (await buckets.take("alice", Rate(20, 1)) or 0) <= 0.0501
    await asyncio.sleep(0.06)
    assert await buckets.take("alice", Rate(20, 1)) == 0


async def test_a_process_that_dies_with_the_lock_gives_it_back(table: int) -> None:
    buckets = MemoryBuckets(table)
    with start(HOLD, table) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        began_s = time.monotonic()
        assert await buckets.take("alice", RATE) is None  # nobody knows now
        assert time.monotonic() - began_s < 2
        holder.send_signal(signal.SIGKILL)
        holder.wait(5)
        assert await buckets.take("alice", RATE) == 0


async def test_whoever_waits_for_the_lock_lets_the_loop_run(table: int) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with start(HOLD, table) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        counting = asyncio.create_task(count())
        await MemoryBuckets(table).take("alice", RATE)
        counting.cancel()
        holder.kill()
    assert turns > 10


async def test_the_lock_is_free_afterwards(table: int, tmp_path: Path) -> None:  # noqa: ARG001
    await MemoryBuckets(table).take("alice", RATE)
    code = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')"
    with start(code, table) as other:
        assert other.communicate(timeout=10)[0] == "free\n"
    fcntl.lockf(table, fcntl.LOCK_UN)


async def test_names_that_meet_in_a_slot_and_a_table_that_is_full(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_buckets, "SLOTS", 3)
    buckets, rate = MemoryBuckets(table), Rate(0.01, 1)
    names = ["alice", "bob", "carol"]
    assert [await buckets.take(name, rate) for name in names] == [0, 0, 0]
    assert await buckets.take("dave", rate) is None
    again = [await MemoryBuckets(table).take(name, rate) or 0 for name in names]
    assert all(wait_s > 99 for wait_s in again)


def test_the_table_is_found_where_the_code_is() -> None:
    assert Path(memory_buckets.__file__).is_relative_to(SERVICES)
