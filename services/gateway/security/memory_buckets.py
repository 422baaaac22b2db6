"""Rate limits that the workers of one gateway share: a table in memory that all of them map."""

import asyncio
import fcntl
import hashlib
import mmap
import os
import struct
import time
from contextlib import suppress

from gateway.caller import Rate
from gateway.security.rate_limit import decide

NAME_BYTES = 24
SLOT = struct.Struct(f"{NAME_BYTES}sd")  # the hash of the key's name, and when its bucket is full
FULL_AT = struct.Struct("d")
SLOTS = 16_384  # names of keys, over the gateway's life; pages that nobody touches take no memory
SIZE = SLOT.size * SLOTS
FREE = bytes(NAME_BYTES)
TIMEOUT_S = 0.1  # the lock is held for 2 us, or until a process that was interrupted meanwhile goes on


def allocate() -> int:
    """Return the descriptor of an empty table."""
    table = os.memfd_create("retort-rates")
    os.ftruncate(table, SIZE)
    return table


class MemoryBuckets:
    """Exact over all workers, because their monotonic clock is the machine's.

    The lock is the kernel's on the file, because the kernel takes it from a process that dies.
    """

    def __init__(self, table: int) -> None:
        self._file, self._table = table, mmap.mmap(table, SIZE)
        self._places: dict[str, int] = {}

    async def take(self, name: str, rate: Rate) -> float | None:
        """Return for how many seconds a request must wait, 0 when it may pass, None when the table cannot be had."""
        end_s = time.monotonic() + TIMEOUT_S
        while not self._lock():
            if time.monotonic() > end_s:
                return None  # whoever holds it has been stopped; nobody else shall be
            await asyncio.sleep(0)
        try:
            at = self._places.get(name)
            if at is None:
                at = self._place(name)
            if at is None:
                return None
            decision = decide(time.monotonic(), FULL_AT.unpack_from(self._table, at)[0], rate)
            FULL_AT.pack_into(self._table, at, decision.full_at_s)
            return decision.wait_s
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _place(self, name: str) -> int | None:
        """Return where the bucket of `name` is, from now on if it is new; None when the table is full."""
        digest = hashlib.sha256(name.encode()).digest()[:NAME_BYTES]
        first = int.from_bytes(digest[:8])
        for slot in range(first, first + SLOTS):
            start = slot % SLOTS * SLOT.size
            found = self._table[start : start + NAME_BYTES]
            if found == FREE:
                SLOT.pack_into(self._table, start, digest, 0.0)
            if found in (FREE, digest):
                at = self._places[name] = start + NAME_BYTES
                return at
        return None
