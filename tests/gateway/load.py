"""Callers in a closed loop against a gateway, and what became of their calls."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import httpx

# Set by `make chaos`: many times the default suite's requests.
CHAOS = int(os.environ.get("CHAOS", "1"))
# So many times as a storm's unit before memory is looked at: allocators and gRPC's buffers settle after some thousand.
WARM_UP = max(1, CHAOS // 2)


@dataclass(frozen=True, slots=True)
class Answered:
    """One call: when its answer came, its status (0: none came), how long it took."""

    at_s: float
    code: int
    took_s: float


@dataclass
class Load:
    """Every answer in the order in which they came."""

    url: str
    deadline_ms: int = 3000
    answers: list[Answered] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    done: Event = field(default_factory=Event)

    @contextmanager
    def running(self, callers: int = 6) -> Iterator["Load"]:
        """Run until the block ends."""
        threads = [Thread(target=self._call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.done.set()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads), "a request hangs"

    def since(self, moment_s: float = 0.0) -> list[Answered]:
        """The answers that came after a moment."""
        with self.lock:
            return [answer for answer in self.answers if answer.at_s >= moment_s]

    def codes(self, moment_s: float = 0.0) -> Counter[int]:
        """How often each status came after a moment."""
        return Counter(answer.code for answer in self.since(moment_s))

    def slowest_s(self, moment_s: float = 0.0) -> float:
        """The longest that anybody waited whose answer came after a moment."""
        return max(answer.took_s for answer in self.since(moment_s))

    def whole_after_s(self, moment_s: float) -> float:
        """How long after a moment the last answer came that was no 200; 0: there was none."""
        return max((answer.at_s - moment_s for answer in self.since(moment_s) if answer.code != 200), default=0.0)

    def _call(self) -> None:
        with httpx.Client(timeout=20, headers={"x-deadline-ms": str(self.deadline_ms)}) as client:
            while not self.done.is_set():
                started_s = time.monotonic()
                try:
                    code = client.post(f"{self.url}/predict", json={"text": "a good film"}).status_code
                except httpx.TransportError:
                    code = 0
                now_s = time.monotonic()
                with self.lock:
                    self.answers.append(Answered(now_s, code, now_s - started_s))
                time.sleep(0.01)
