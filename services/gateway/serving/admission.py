"""Admission: how many calls may be inside at once; more are refused early instead of waiting for nothing."""

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
