"""One call on its way through the gateway: who asks, until when, and what became of it."""

import time
from collections.abc import Mapping

from gateway.caller import NOBODY
from gateway.trace_context import TraceContext

CALL = "retort.call"  # the key in the ASGI scope under which middleware and doors find the Call


class Call:
    """Made by the door, completed by the predictor; measured once for log, histogram and Server-Timing."""

    __slots__ = (
        "cache",
        "cache_control",
        "caller",
        "cohort",
        "deadline_s",
        "headers",
        "model",
        "request_id",
        "route",
        "route_key",
        "route_version",
        "started_s",
        "steps_s",
        "text",
        "trace",
        "version",
    )

    def __init__(self, request_id: str, headers: Mapping[bytes, bytes], *, started_s: float | None = None) -> None:
        self.request_id = request_id
        self.headers = headers  # or gRPC metadata; names in lower case
        self.started_s = time.monotonic() if started_s is None else started_s
        self.deadline_s = float("inf")  # in time.monotonic()
        self.caller = NOBODY  # until the gate has asked
        self.route_key: str | None = None
        self.route_version: int | None = None  # asked for by x-route-version
        self.cache_control: str | None = None  # bypass or refresh
        self.route = "other"  # the door's name for metrics, never the path as sent
        self.model = self.version = self.cohort = ""  # who answers, once chosen
        self.cache = "bypass"
        self.text: str | None = None  # for the log, only where an operator switched that on
        self.steps_s: dict[str, float] = {}
        self.trace: TraceContext | None = None  # None: tracing is off

    def began(self, step: str | None) -> None:
        """Note for the trace, if there is one, that a step begins; None: the last one has ended."""
        if self.trace is not None:
            self.trace.began(step)
