"""Admission: how many calls may be inside at once; more are refused early instead of waiting for nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from gateway.errors import OverloadedError
from gateway.metrics import Metrics


class Admission:
    """`with admission:` around a call; raises OverloadedError when the house is full."""

    def __init__(self, max_inflight: int, metrics: Metrics) -> None:
        self._max, self._inflight = max_inflight, 0
        self._shed = metrics.shed.labels("inflight")
        metrics.inflight.set_function(lambda: self.inflight)

    @property
    def inflight(self) -> int:
        """How many calls are inside."""
        return self._inflight

    def __enter__(self) -> None:
        if self._inflight >= self._max:
            self._shed.inc()
            raise OverloadedError(f"{self._inflight} requests are being answered already, the limit is {self._max}")
        self._inflight += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inflight -= 1


class RawShare:
    """How much of one target's model server calls with their own tensors may hold at once: they wait in no queue here.

    Without it they would be in the server's own queue by the hundred, and every batch of texts behind them.
    """

    def __init__(self, max_rows: int, max_tokens: int, metrics: Metrics) -> None:
        self._max_rows, self._max_tokens = max_rows, max_tokens
        self._rows = self._tokens = 0
        self._shed = metrics.shed.labels("raw")

    @contextmanager
    def taken(self, rows: int, length: int) -> Iterator[None]:
        """Hold `rows` of `length` tokens; raises OverloadedError beyond the share, but one call may always be there."""
        tokens = rows * length
        if self._rows and (self._rows + rows > self._max_rows or self._tokens + tokens > self._max_tokens):
            self._shed.inc()
            raise OverloadedError(
                f"calls with their own tensors have {self._rows} rows of {self._tokens} tokens at the model server "
                f"already; together they may have {self._max_rows} rows and {self._max_tokens} tokens"
            )
        self._rows, self._tokens = self._rows + rows, self._tokens + tokens
        try:
            yield
        finally:
            self._rows, self._tokens = self._rows - rows, self._tokens - tokens
