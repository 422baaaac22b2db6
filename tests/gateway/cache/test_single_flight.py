"""Single flight: once for all, and nobody pays for another's impatience."""

import asyncio
import gc
import math
import time
from collections.abc import Sequence

import pytest

from gateway.cache.single_flight import SingleFlight
from gateway.errors import DeadlineExceededError, UpstreamFailedError
from tests.gateway.cache.stores import until

Flight = SingleFlight[str, str]


class Model:
    """Computes when it is let."""

    def __init__(self, keys: Sequence[str], calls: list[list[str]], error: Exception | None = None) -> None:
        self.keys, self.calls, self.error = keys, calls, error
        self.let = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, positions: list[int]) -> list[str]:
        """Compute some of the keys."""
        self.calls.append([self.keys[position] for position in positions])
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return [f"<{self.keys[position]}>" for position in positions]


def soon_s(seconds: float = 5) -> float:
    """A deadline."""
    return time.monotonic() + seconds


async def test_identical_misses_compute_once_and_nothing_is_remembered() -> None:
    flight, calls = Flight(), list[list[str]]()
    model = Model(["a"], calls)
    asking = [asyncio.create_task(flight.run(["a"], model, soon_s())) for _ in range(50)]
    await until(lambda: calls == [["a"]])
    model.let.set()
    assert await asyncio.gather(*asking) == [["<a>"]] * 50
    assert calls == [["a"]]
    assert await flight.run(["a"], model, math.inf) == ["<a>"]
    assert calls == [["a"], ["a"]]


async def test_a_call_with_many_texts_computes_only_what_nobody_computes_and_repeats_once() -> None:
    flight, calls = Flight(), list[list[str]]()
    first, second = Model(["a", "b"], calls), Model(["c", "b", "c", "d", "a"], calls)
    one = asyncio.create_task(flight.run(first.keys, first, soon_s()))
    await until(lambda: len(calls) == 1)
    two = asyncio.create_task(flight.run(second.keys, second, soon_s()))
    await until(lambda: len(calls) == 2)
    second.let.set()
    await asyncio.sleep(0)
    assert not two.done()
    first.let.set()
    assert await one == ["<a>", "<b>"]
    assert await two == ["<c>", "<b>", "<c>", "<d>", "<a>"]
    assert calls == [["a", "b"], ["c", "d"]]


async def test_the_first_caller_leaving_does_not_cancel_the_others() -> None:
    flight, calls = Flight(), list[list[str]]()
    model = Model(["a"], calls)
    first = asyncio.create_task(flight.run(["a"], model, soon_s()))
    await until(lambda: len(calls) == 1)
    second = asyncio.create_task(flight.run(["a"], model, soon_s()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    model.let.set()
    assert await second == ["<a>"]
    assert calls == [["a"]]


async def test_when_everybody_has_left_the_computation_is_cancelled_and_the_next_one_starts_anew() -> None:
    flight, calls = Flight(), list[list[str]]()
    model = Model(["a"], calls)
    asking = [asyncio.create_task(flight.run(["a"], model, soon_s())) for _ in range(2)]
    await until(lambda: len(calls) == 1)
    for one in asking:
        one.cancel()
    await asyncio.wait(asking)
    again = Model(["a"], calls)
    again.let.set()
    assert await flight.run(["a"], again, soon_s()) == ["<a>"]
    assert model.was_cancelled
    assert len(calls) == 2


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    flight, calls = Flight(), list[list[str]]()
    model = Model(["a"], calls, UpstreamFailedError("broken"))
    asking = [asyncio.create_task(flight.run(["a"], model, soon_s())) for _ in range(5)]
    await until(lambda: len(calls) == 1)
    model.let.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [model.error] * 5
    model.error = None
    assert await flight.run(["a"], model, soon_s()) == ["<a>"]


async def test_each_caller_has_its_own_deadline() -> None:
    flight, calls = Flight(), list[list[str]]()
    model = Model(["a"], calls)
    patient = asyncio.create_task(flight.run(["a"], model, soon_s()))
    await until(lambda: len(calls) == 1)
    started_s = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await flight.run(["a"], model, soon_s(0.02))
    assert time.monotonic() - started_s < 1
    model.let.set()
    assert await patient == ["<a>"]


async def test_a_computation_that_ends_at_an_impatient_callers_deadline_starts_again_for_the_patient() -> None:
    flight, calls = Flight(), list[list[str]]()
    hasty = Model(["a"], calls, DeadlineExceededError("the first caller's"))
    patient = Model(["a"], calls)
    patient.let.set()
    first = asyncio.create_task(flight.run(["a"], hasty, soon_s()))
    await until(lambda: len(calls) == 1)
    second = asyncio.create_task(flight.run(["a"], patient, soon_s()))
    await asyncio.sleep(0)
    hasty.let.set()
    with pytest.raises(DeadlineExceededError):
        await first  # and does not try for ever
    assert await second == ["<a>"]
    assert len(calls) == 2


async def test_an_error_that_nobody_waits_for_any_more_is_not_reported_as_lost() -> None:
    flight, calls, lost = Flight(), list[list[str]](), list[dict[str, object]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    slow, broken = Model(["b"], calls), Model(["b", "a"], calls, UpstreamFailedError("broken"))
    first = asyncio.create_task(flight.run(["b"], slow, soon_s()))
    await until(lambda: len(calls) == 1)
    second = asyncio.create_task(flight.run(["b", "a"], broken, soon_s()))  # waits for b first
    await until(lambda: len(calls) == 2)
    broken.let.set()
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.wait([second])
    slow.let.set()
    assert await first == ["<b>"]
    del second
    gc.collect()
    assert lost == []
