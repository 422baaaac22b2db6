"""The micro-batcher of one target: idle sends at once, busy coalesces rows of similar length around the oldest."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.errors import DeadlineExceededError, OverloadedError, UpstreamUnavailableError

Row = TypeVar("Row", bound=Sized)
Result = TypeVar("Result")

# A batch pads to its longest row, so a row joins only if that wastes little: within 8 tokens of the oldest, or
# half of its length.
SIMILAR_TOKENS = 8
SIMILAR_SHARE = 0.5
# Choosing looks at this many batches' worth of the queue: enough to find company, bounded when the queue is long.
WINDOW_BATCHES = 8
MAX_RETRY_AFTER_S = 30
# How long rows wait for company while an earlier batch computes: callers that a batch has just answered ask again
# within this time, and one batch of their questions costs less than many small ones.
LINGER_S = 0.001
# The last batch that may be in flight waits for company for longer: until those ahead take so many times what is usual.
OVERDUE = 3.0
LAST_LINGER_S = 0.05
# Fewer rows are not split over batches: a call to the model server costs about as much as computing two of them.
WORTH_ROWS = 4
NO_PRIORITY = 2**32  # behind every priority that a caller can give


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch and the queue may hold; `pad` maps a length to the length that is computed."""

    max_rows: int
    max_tokens: int
    max_in_flight: int
    max_queue_rows: int
    pad: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch was: for metrics."""

    rows: int
    padding_ratio: float
    queued_s: float
    upstream_s: float


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """Results in the order of the submitted rows; the longest wait and the longest call among their batches."""

    results: list[Result]
    queued_s: float
    upstream_s: float


class _Call(Generic[Result]):
    """Rows that came together and are answered together."""

    __slots__ = ("deadline_s", "future", "priority", "queued_s", "remaining", "results", "submitted_s", "upstream_s")

    def __init__(self, rows: int, submitted_s: float, deadline_s: float, priority: int) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.results: list[Result | None] = [None] * rows
        self.remaining = rows
        self.submitted_s = submitted_s
        self.deadline_s = deadline_s
        self.priority = priority
        self.queued_s = self.upstream_s = 0.0

    def expire(self) -> None:
        self.fail(DeadlineExceededError("the deadline passed before the model answered"))

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def put(self, index: int, result: Result) -> None:
        self.results[index] = result
        self.remaining -= 1
        if not self.remaining and not self.future.done():
            self.future.set_result(None)


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Row, Result]):
    row: Row
    call: _Call[Result]
    index: int


class Batcher(Generic[Row, Result]):
    """Sends rows in batches through `send(rows, timeout_s, hurried_s) -> one result a row`; one batcher per target.

    `timeout_s` is how long the most patient caller of the batch waits, `hurried_s` the least patient. A result that is
    an exception fails the call of its row alone. A call that is cancelled or past its deadline is dropped before it is
    computed. Deadlines are in `time.monotonic()`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Row], float, float], Awaitable[Sequence[Result | Exception]]],
        limits: BatchLimits,
        report: Callable[[BatchReport], None],
    ) -> None:
        self._send, self._limits, self._report = send, limits, report
        self._queue: list[_Waiting[Row, Result]] = []
        self._waiting_rows = 0
        self._batches_in_flight = self._rows_in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them only weakly
        self._pump_is_due = False
        self._linger: asyncio.TimerHandle | None = None
        self._rows_per_s = self._usual_s = 0.0

    @property
    def depth(self) -> int:
        """Rows that wait for a batch and still have someone who waits for them."""
        return self._waiting_rows

    async def submit(self, rows: Sequence[Row], deadline_s: float, priority: int = 0) -> Outcome[Result]:
        """Return one result a row, in order. Raises OverloadedError, DeadlineExceededError, or what `send` raised.

        Rows wait in the order of `priority`, 1 before 2, those without one (0) last.
        """
        if self._waiting_rows + len(rows) > self._limits.max_queue_rows:
            raise OverloadedError(
                f"{self._waiting_rows} rows wait already, the queue holds {self._limits.max_queue_rows}",
                retry_after_s=self._retry_after_s(),
            )
        now_s = time.monotonic()
        call: _Call[Result] = _Call(len(rows), now_s, deadline_s, priority or NO_PRIORITY)
        at = len(self._queue)
        while at and self._queue[at - 1].call.priority > call.priority:
            at -= 1
        self._queue[at:at] = [_Waiting(row, call, index) for index, row in enumerate(rows)]
        self._waiting_rows += len(rows)
        loop = asyncio.get_running_loop()
        # Not at once: requests that were read from other sockets in this turn of the loop share the batch.
        if not self._pump_is_due:
            self._pump_is_due = True
            loop.call_soon(self._pump)
        expiry = loop.call_later(deadline_s - now_s, call.expire)
        try:
            await call.future
        finally:
            expiry.cancel()
            if call.remaining:
                self._forget(call)
        return Outcome(call.results, call.queued_s, call.upstream_s)  # type: ignore[arg-type]  # all were put

    def _forget(self, call: _Call[Result]) -> None:
        """Take the rows of a call that nobody waits for out of the queue."""
        before = len(self._queue)
        self._queue = [waiting for waiting in self._queue if waiting.call is not call]
        self._waiting_rows -= before - len(self._queue)

    def _pump(self) -> None:
        """Send what is worth sending: called when rows came, when a batch landed, when rows have lingered."""
        self._pump_is_due = False
        while self._queue and self._batches_in_flight < self._limits.max_in_flight:
            share = fair_share(self._waiting_rows, self._rows_in_flight, self._limits)
            if self._batches_in_flight and self._waiting_rows < share and not self._lingered():
                return
            taken = self._take(max(share, min(WORTH_ROWS, self._limits.max_rows)))
            self._batches_in_flight += 1
            self._rows_in_flight += len(taken)
            task = asyncio.get_running_loop().create_task(self._run(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _landed(self, rows: int) -> None:
        self._batches_in_flight -= 1
        self._rows_in_flight -= rows
        self._pump()

    def _lingered(self) -> bool:
        """Whether the oldest row has waited long enough for company; if not, see to it that it will be asked again."""
        linger_s = LINGER_S
        if self._batches_in_flight + 1 == self._limits.max_in_flight > 1:
            # The last batch only waits at the model server: it goes when another has landed, or full, or when it seems
            # that none will land.
            linger_s = max(LAST_LINGER_S, OVERDUE * self._usual_s)
        left_s = self._queue[0].call.submitted_s + linger_s - time.monotonic()
        if self._linger is not None:
            self._linger.cancel()
        self._linger = asyncio.get_running_loop().call_later(left_s, self._pump) if left_s > 0 else None
        return left_s <= 0

    def _take(self, most: int) -> list[_Waiting[Row, Result]]:
        limits = self._limits
        window = self._queue[: limits.max_rows * WINDOW_BATCHES]
        chosen = choose([len(waiting.row) for waiting in window], limits, most)
        taken = set(chosen)
        left = [waiting for index, waiting in enumerate(window) if index not in taken]
        self._queue[: len(window)] = left
        self._waiting_rows -= len(chosen)
        return [window[index] for index in chosen]

    async def _run(self, taken: list[_Waiting[Row, Result]]) -> None:
        batch = [waiting for waiting in taken if not waiting.call.future.done()]
        if not batch:
            self._landed(len(taken))
            return
        rows = [waiting.row for waiting in batch]
        calls = {id(waiting.call): waiting.call for waiting in batch}.values()
        sent_s = time.monotonic()
        # The batch runs as long as its most patient caller allows; the others are answered by their own expiry.
        deadlines_s = [call.deadline_s for call in calls]
        try:
            results = await self._send(rows, max(deadlines_s) - sent_s, min(deadlines_s) - sent_s)
            upstream_s = time.monotonic() - sent_s
            self._observe(rows, sent_s - batch[0].call.submitted_s, upstream_s)
        except Exception as error:  # noqa: BLE001  # whoever waits raises it again
            for call in calls:
                call.fail(error)
            return
        except BaseException:
            for call in calls:
                call.fail(UpstreamUnavailableError("the batch was given up before the model answered"))
            raise
        finally:
            self._landed(len(taken))  # before the callers are answered: the model computes the next batch meanwhile
        for call in calls:
            call.queued_s = max(call.queued_s, sent_s - call.submitted_s)
            call.upstream_s = max(call.upstream_s, upstream_s)
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                waiting.call.fail(result)
            else:
                waiting.call.put(waiting.index, result)

    def _observe(self, rows: list[Row], queued_s: float, upstream_s: float) -> None:
        lengths = [len(row) for row in rows]
        computed = len(rows) * self._limits.pad(max(lengths))
        self._report(BatchReport(len(rows), 1 - sum(lengths) / computed, queued_s, upstream_s))
        self._usual_s += 0.1 * (upstream_s - self._usual_s) if self._usual_s else upstream_s
        rate = len(rows) * self._batches_in_flight / max(upstream_s, 1e-4)
        self._rows_per_s = rate if not self._rows_per_s else 0.9 * self._rows_per_s + 0.1 * rate

    def _retry_after_s(self) -> int:
        """How long the queue takes at the recent pace, in whole seconds as the header wants them."""
        if not self._rows_per_s:
            return 1
        return max(1, min(MAX_RETRY_AFTER_S, math.ceil(self._waiting_rows / self._rows_per_s)))


def fair_share(waiting: int, in_flight: int, limits: BatchLimits) -> int:
    """Return how many rows the next batch should have, so that the batches that may be in flight are alike."""
    return min(limits.max_rows, max(1, (waiting + in_flight) // limits.max_in_flight))


def choose(lengths: Sequence[int], limits: BatchLimits, most: int) -> list[int]:
    """Return which of the waiting rows (oldest first) make the next batch, as indices, oldest row first.

    The oldest row always goes, so nobody starves. The nearest in length join it, older before younger, while the
    batch stays within `most` rows and `max_tokens` (rows x padded length).
    """
    oldest = longest = lengths[0]
    reach = max(SIMILAR_TOKENS, oldest * SIMILAR_SHARE)
    chosen = [0]
    for index in sorted(range(1, len(lengths)), key=lambda index: abs(lengths[index] - oldest)):
        if len(chosen) == most or abs(lengths[index] - oldest) > reach:
            break
        padded = limits.pad(max(longest, lengths[index]))
        if (len(chosen) + 1) * padded <= limits.max_tokens:
            chosen.append(index)
            longest = max(longest, lengths[index])
    return chosen
