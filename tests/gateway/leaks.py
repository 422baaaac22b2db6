"""What a gateway process holds, and that it holds no more of it after a storm than before."""

import logging
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.processes import Served, wait_until

log = logging.getLogger(__name__)

MAX_GROWTH_BYTES = 5_000_000
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Footprint:
    """Requests inside, tasks of the event loop, open files, resident memory."""

    inflight: int
    tasks: int
    files: int
    memory_bytes: int

    @classmethod
    def of(cls, served: Served) -> "Footprint":
        """Look at it now."""
        inside, proc = served.inside(), Path(f"/proc/{served.process.pid}")
        files = len(list((proc / "fd").iterdir()))
        memory_bytes = int((proc / "statm").read_text().split()[1]) * PAGE_BYTES
        return cls(inside["inflight"], inside["tasks"], files, memory_bytes)


def at_rest(served: Served) -> Footprint:
    """Wait until nothing is inside, look."""
    wait_until(lambda: served.inside()["inflight"] == 0, 15)
    return Footprint.of(served)


def assert_no_more_than(before: Footprint, served: Served, what: str) -> None:
    """Wait until the process holds what it held before, memory within a few megabytes; `what` happened since."""

    def is_back() -> bool:
        now = Footprint.of(served)
        grown_bytes = now.memory_bytes - before.memory_bytes
        return (
            now.inflight == 0
            and now.tasks <= before.tasks
            and now.files <= before.files
            and grown_bytes < MAX_GROWTH_BYTES
        )

    try:
        wait_until(is_back, 15)
    finally:
        log.info("%s: before %s, after %s", what, before, Footprint.of(served))
