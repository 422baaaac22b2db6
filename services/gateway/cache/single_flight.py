"""Single flight: what several callers want at the same time is computed once in this process."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.errors import DeadlineExceededError

Key = TypeVar("Key")
Result = TypeVar("Result")


class _Flight(Generic[Key, Result]):
    """One computation for several keys."""

    __slots__ = ("positions", "task", "waiting")

    def __init__(self, task: "asyncio.Task[Sequence[Result]]", keys: Sequence[Key]) -> None:
        self.task = task
        self.positions = {key: position for position, key in enumerate(keys)}
        self.waiting = 0


class SingleFlight(Generic[Key, Result]):
    """Nothing is remembered here: a flight that has landed, or failed, is forgotten."""

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[Key, Result]] = {}

    async def run(
        self, keys: Sequence[Key], compute: Callable[[list[int]], Awaitable[Sequence[Result]]], deadline_s: float
    ) -> list[Result]:
        """Return one result a key, in order; `compute` gets the positions in `keys` that nobody computes yet.

        What a computation raises reaches everybody who waits for it. DeadlineExceededError comes at this caller's own
        deadline, in `time.monotonic()`; whoever leaves early takes nothing from the others, but when nobody waits any
        more the computation is cancelled. One that ended at the deadline of its less patient first caller starts again.
        """
        found: dict[Key, Result] = {}
        positions: dict[Key, int] = {}
        for position, key in enumerate(keys):
            positions.setdefault(key, position)
        while missing := [key for key in positions if key not in found]:
            new = [key for key in missing if key not in self._flights]
            own = self._start(new, [positions[key] for key in new], compute) if new else None
            await self._collect(missing, own, found, deadline_s)
        return [found[key] for key in keys]

    def _start(
        self, keys: list[Key], positions: list[int], compute: Callable[[list[int]], Awaitable[Sequence[Result]]]
    ) -> _Flight[Key, Result]:
        async def computed() -> Sequence[Result]:
            return await compute(positions)

        flight = _Flight[Key, Result](asyncio.get_running_loop().create_task(computed()), keys)
        flight.task.add_done_callback(lambda _: self._landed(flight))
        self._flights |= dict.fromkeys(keys, flight)
        return flight

    def _landed(self, flight: _Flight[Key, Result]) -> None:
        for key in flight.positions:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # looked at, though everybody may have left before it was raised

    async def _collect(
        self, keys: list[Key], own: _Flight[Key, Result] | None, found: dict[Key, Result], deadline_s: float
    ) -> None:
        """Wait for the flights that compute these keys and add what they found."""
        wanted: dict[_Flight[Key, Result], list[Key]] = {}
        for key in keys:
            wanted.setdefault(self._flights[key], []).append(key)
        for flight in wanted:
            flight.waiting += 1
        try:
            for flight, its_keys in wanted.items():
                timeout_s = None if deadline_s == math.inf else max(deadline_s - time.monotonic(), 0)
                await asyncio.wait([flight.task], timeout=timeout_s)
                if not flight.task.done():
                    raise DeadlineExceededError("the deadline passed before the model answered")
                try:
                    results = flight.task.result()
                except DeadlineExceededError:
                    if flight is own or deadline_s <= time.monotonic():
                        raise
                    continue  # another caller's deadline, not ours
                found.update((key, results[flight.positions[key]]) for key in its_keys)
        finally:
            for flight in wanted:
                flight.waiting -= 1
                if not flight.waiting and not flight.task.done():
                    self._landed(flight)  # who comes now starts anew
                    flight.task.cancel()
