"""The micro-batcher: order and identity under concurrency, limits, company by length, deadlines, abandonment."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import DeadlineExceededError, OverloadedError, UpstreamFailedError, UpstreamUnavailableError
from gateway.serving.batcher import LAST_LINGER_S, LINGER_S, Batcher, BatchLimits, BatchReport, choose, fair_share

SOON_S = 5.0


def limits(**changes: int) -> BatchLimits:
    """Generous limits, some changed."""
    values = {"max_rows": 8, "max_tokens": 1000, "max_in_flight": 2, "max_queue_rows": 1000} | changes
    return BatchLimits(**values, pad=int)


@dataclass
class Upstream:
    """Answers each row with itself, once `gate` is open; remembers every batch."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[str]] = field(default_factory=list)
    timeouts_s: list[tuple[float, float]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    error: BaseException | None = None

    async def send(self, rows: Sequence[str], timeout_s: float, hurried_s: float) -> list[str]:
        """Take one batch."""
        self.batches.append(list(rows))
        self.timeouts_s.append((timeout_s, hurried_s))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return [f"<{row}>" for row in rows]


def batcher(upstream: Upstream, limit: BatchLimits, reports: list[BatchReport] | None = None) -> Batcher[str, str]:
    """A batcher of strings."""
    return Batcher(upstream.send, limit, (reports if reports is not None else []).append)


def soon_s() -> float:
    """A deadline that no test reaches."""
    return time.monotonic() + SOON_S


@given(
    calls=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=30),
    max_rows=st.integers(1, 9),
    max_tokens=st.integers(30, 120),
    max_in_flight=st.integers(1, 4),
    pad_to=st.sampled_from([1, 8]),
)
@settings(deadline=None, max_examples=60)
def test_everybody_gets_their_own_answers_in_order_and_no_batch_exceeds_its_limits(
    calls: list[list[int]], max_rows: int, max_tokens: int, max_in_flight: int, pad_to: int
) -> None:
    def pad(length: int) -> int:
        return min(-(-length // pad_to) * pad_to, 30)

    async def run() -> None:
        upstream = Upstream()
        upstream.gate.set()
        busy = batcher(upstream, BatchLimits(max_rows, max_tokens, max_in_flight, 1000, pad))
        texts = [[f"{i}:{j}:".ljust(n, "x")[: max(n, 4)] for j, n in enumerate(call)] for i, call in enumerate(calls)]
        outcomes = await asyncio.gather(*(busy.submit(rows, soon_s()) for rows in texts))
        for rows, outcome in zip(texts, outcomes, strict=True):
            assert outcome.results == [f"<{row}>" for row in rows]
        for batch in upstream.batches:
            assert len(batch) <= max_rows
            assert len(batch) == 1 or len(batch) * pad(max(map(len, batch))) <= max_tokens
        assert sum(map(len, upstream.batches)) == sum(map(len, calls))
        assert upstream.most_at_once <= max_in_flight
        assert busy.depth == 0

    asyncio.run(run())


async def test_idle_sends_at_once_and_busy_coalesces() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=1))
    first = asyncio.create_task(one.submit(["a"], soon_s()))
    await until(lambda: upstream.batches == [["a"]])
    others = [asyncio.create_task(one.submit([text], soon_s())) for text in "bcd"]
    await until(lambda: one.depth == 3)
    assert upstream.batches == [["a"]]
    upstream.gate.set()
    assert [(await task).results for task in (first, *others)] == [["<a>"], ["<b>"], ["<c>"], ["<d>"]]
    assert upstream.batches == [["a"], ["b", "c", "d"]]


async def test_requests_of_one_turn_of_the_loop_share_a_batch() -> None:
    upstream = Upstream()
    upstream.gate.set()
    one = batcher(upstream, limits())
    await asyncio.gather(*(one.submit([text], soon_s()) for text in "abc"))
    assert upstream.batches == [["a", "b", "c"]]


async def test_batches_that_may_be_in_flight_are_alike() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_rows=16, max_in_flight=3))
    tasks = [asyncio.create_task(one.submit(["x"], soon_s())) for _ in range(30)]
    await until(lambda: sum(map(len, upstream.batches)) == 30)
    assert [len(batch) for batch in upstream.batches] == [10, 10, 10]
    upstream.gate.set()
    await asyncio.gather(*tasks)


async def test_busy_waits_for_company_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.serving.batcher.WORTH_ROWS", 8)
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=3))
    busy = asyncio.create_task(one.submit(["x"] * 8, soon_s()))
    await until(lambda: len(upstream.batches) == 1)
    started_s = time.monotonic()
    early = asyncio.create_task(one.submit(["y"], soon_s()))
    for _ in range(3):
        await asyncio.sleep(0)
    late = asyncio.create_task(one.submit(["z"], soon_s()))
    await until(lambda: len(upstream.batches) == 2)
    assert upstream.batches[1] == ["y", "z"]
    assert LINGER_S * 0.9 < time.monotonic() - started_s < 0.5
    upstream.gate.set()
    await asyncio.gather(busy, early, late)


async def test_the_last_batch_goes_full_or_when_another_has_landed() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=2))
    busy = asyncio.create_task(one.submit(["x"] * 4, soon_s()))
    await until(lambda: len(upstream.batches) == 1)
    lonely = asyncio.create_task(one.submit(["y"], soon_s()))
    await asyncio.sleep(20 * LINGER_S)
    assert len(upstream.batches) == 1
    company = asyncio.create_task(one.submit(["z"] * 3, soon_s()))
    await until(lambda: upstream.batches[1:] == [["y", "z", "z", "z"]])
    waits = asyncio.create_task(one.submit(["w"], soon_s()))
    upstream.gate.set()
    await asyncio.gather(busy, lonely, company, waits)
    assert upstream.batches[2:] == [["w"]]


async def test_batches_that_hang_do_not_keep_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.serving.batcher.WORTH_ROWS", 8)
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=2))
    hanging = asyncio.create_task(one.submit(["x"] * 8, soon_s()))
    await until(lambda: len(upstream.batches) == 1)
    started_s = time.monotonic()
    other = asyncio.create_task(one.submit(["y"], soon_s()))
    await until(lambda: len(upstream.batches) == 2)
    assert time.monotonic() - started_s > LAST_LINGER_S * 0.9
    upstream.gate.set()
    await asyncio.gather(hanging, other)


async def test_a_row_that_failed_fails_its_own_caller_alone() -> None:
    async def send(rows: Sequence[str], _: float, __: float) -> list[str | Exception]:
        return [UpstreamFailedError(row) if row == "bad" else row for row in rows]

    reports: list[BatchReport] = []
    one: Batcher[str, str] = Batcher(send, limits(), reports.append)
    calls = (one.submit(rows, soon_s()) for rows in (["a"], ["b", "bad"], ["c"]))
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(second, UpstreamFailedError)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert (first.results, third.results) == (["a"], ["c"])


async def test_a_batch_that_is_cancelled_leaves_nobody_waiting() -> None:
    upstream = Upstream(error=asyncio.CancelledError())
    upstream.gate.set()
    one = batcher(upstream, limits())
    with pytest.raises(UpstreamUnavailableError):
        await one.submit(["a"], soon_s())
    upstream.error = None
    assert (await one.submit(["b"], soon_s())).results == ["<b>"]


async def test_the_next_batch_is_sent_before_the_callers_of_the_last_are_answered() -> None:
    sent_when_answered: list[int] = []
    upstream = Upstream()
    busy = batcher(upstream, limits(max_in_flight=1))

    async def ask(row: str) -> None:
        await busy.submit([row], soon_s())
        sent_when_answered.append(len(upstream.batches))

    first = asyncio.create_task(ask("first"))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(ask("second"))
    await asyncio.sleep(0.01)
    assert upstream.batches == [["first"]]
    upstream.gate.set()
    await asyncio.gather(first, second)
    assert sent_when_answered == [2, 2]


async def test_rows_wait_in_the_order_of_their_priority() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=1, max_rows=1))
    tasks = [asyncio.create_task(one.submit(["first"], soon_s()))]
    await until(lambda: len(upstream.batches) == 1)
    for text, priority in (("none", 0), ("two", 2), ("one", 1), ("two again", 2)):
        tasks.append(asyncio.create_task(one.submit([text], soon_s(), priority)))
        await asyncio.sleep(0)
    upstream.gate.set()
    await asyncio.gather(*tasks)
    assert upstream.batches == [["first"], ["one"], ["two"], ["two again"], ["none"]]


@pytest.mark.parametrize(
    ("waiting", "in_flight", "share"), [(1, 0, 1), (1, 1, 1), (1, 8, 4), (30, 0, 8), (5, 5, 5), (0, 9, 4)]
)
def test_the_fair_share(waiting: int, in_flight: int, share: int) -> None:
    assert fair_share(waiting, in_flight, limits(max_in_flight=2, max_rows=8)) == share


async def test_a_long_row_does_not_make_short_ones_pay() -> None:
    upstream = Upstream()
    upstream.gate.set()
    one = batcher(upstream, limits())
    await asyncio.gather(*(one.submit([text], soon_s()) for text in ("aaa", "b" * 200, "ccc")))
    assert upstream.batches == [["aaa", "ccc"], ["b" * 200]]


async def test_the_most_patient_caller_bounds_the_batch_and_the_others_their_own_wait() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits())
    hasty = asyncio.create_task(one.submit(["a"], time.monotonic() + 0.05))
    patient = asyncio.create_task(one.submit(["b"], time.monotonic() + 3))
    with pytest.raises(DeadlineExceededError):
        await hasty
    upstream.gate.set()
    assert (await patient).results == ["<b>"]
    assert upstream.batches == [["a", "b"]]
    patient_s, hurried_s = upstream.timeouts_s[0]
    assert 2.5 < patient_s <= 3
    assert hurried_s <= 0.05


async def test_rows_that_nobody_waits_for_are_not_computed() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=1))
    running = asyncio.create_task(one.submit(["a"], soon_s()))
    await until(lambda: upstream.batches == [["a"]])
    left = asyncio.create_task(one.submit(["left", "left"], soon_s()))
    late = asyncio.create_task(one.submit(["late"], time.monotonic() + 0.02))
    stays = asyncio.create_task(one.submit(["stays"], soon_s()))
    await until(lambda: one.depth == 4)
    left.cancel()
    with pytest.raises(DeadlineExceededError):
        await late
    assert one.depth == 1
    upstream.gate.set()
    await asyncio.gather(running, stays)
    assert upstream.batches == [["a"], ["stays"]]


async def test_a_caller_who_leaves_between_queue_and_batch_is_not_computed() -> None:
    upstream = Upstream()
    upstream.gate.set()
    one = batcher(upstream, limits())
    task = asyncio.create_task(one.submit(["left"], soon_s()))
    await asyncio.sleep(0)  # queued, the batch is due in the next turn
    task.cancel()
    await asyncio.wait([task])
    assert (await one.submit(["stays"], soon_s())).results == ["<stays>"]
    assert upstream.batches == [["stays"]]


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    upstream = Upstream()
    one = batcher(upstream, limits(max_in_flight=1, max_queue_rows=3))
    running = asyncio.create_task(one.submit(["a"], soon_s()))
    await until(lambda: upstream.batches == [["a"]])
    waiting = asyncio.create_task(one.submit(["b", "c"], soon_s()))
    await until(lambda: one.depth == 2)
    with pytest.raises(OverloadedError, match="2 rows wait already, the queue holds 3") as refused:
        await one.submit(["d", "e"], soon_s())
    assert refused.value.retry_after_s >= 1
    upstream.gate.set()
    await asyncio.gather(running, waiting)


@pytest.mark.parametrize("error", [UpstreamUnavailableError("down"), RuntimeError("a bug")])
async def test_what_the_upstream_raises_reaches_everybody_and_the_next_batch_goes_on(error: Exception) -> None:
    upstream = Upstream(error=error)
    upstream.gate.set()
    one = batcher(upstream, limits())
    failed = await asyncio.gather(*(one.submit([text], soon_s()) for text in "ab"), return_exceptions=True)
    assert failed == [error, error]
    upstream.error = None
    assert (await one.submit(["c"], soon_s())).results == ["<c>"]


async def test_reports_what_a_batch_was() -> None:
    upstream, reports = Upstream(), list[BatchReport]()
    upstream.gate.set()
    one = batcher(upstream, limits(), reports)
    outcome = await one.submit(["aaaa", "aa"], soon_s())
    assert [(report.rows, report.padding_ratio) for report in reports] == [(2, 0.25)]
    assert outcome.upstream_s == reports[0].upstream_s > 0


@pytest.mark.parametrize(
    ("lengths", "limit", "chosen"),
    [
        ([5], limits(), [0]),
        ([900], limits(max_tokens=10), [0]),  # the oldest always goes
        ([5, 5, 5, 5], limits(max_rows=3), [0, 1, 2]),
        ([10, 18, 11, 19], limits(), [0, 2, 1]),  # 19 is out of reach of 10
        ([40, 60, 20, 61, 19], limits(), [0, 1, 2]),  # half of 40 is
        ([10, 12, 11], limits(max_tokens=22), [0, 2]),  # 3 x 12 and 2 x 12 are too many
        ([10, 12, 9], limits(max_tokens=20), [0, 2]),
    ],
)
def test_choosing(lengths: list[int], limit: BatchLimits, chosen: list[int]) -> None:
    assert choose(lengths, limit, limit.max_rows) == chosen


async def until(condition: object) -> None:
    """Wait, a second at most, until the condition holds."""
    assert callable(condition)
    async with asyncio.timeout(1):
        while not condition():  # noqa: ASYNC110  # what is waited for is a state, not an event
            await asyncio.sleep(0.001)
