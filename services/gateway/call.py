"""One call on its way through the gateway: who asks, until when, and what became of it."""

import time
from collections.abc import Mapping

CALL = "retort.call"  # the key in the ASGI scope under which middleware and doors find the Call


class Call:
    """Made by the door, completed by the predictor; measured once for log, histogram and Server-Timing."""

    __slots__ = (
        "cache",
        "cohort",
        "deadline_s",
        "headers",
        "model",
        "request_id",
        "route",
        "route_key",
        "started_s",
        "steps_s",
        "tenant",
        "version",
    )

    def __init__(self, request_id: str, headers: Mapping[bytes, bytes], *, started_s: float | None = None) -> None:
        self.request_id = request_id
        self.headers = headers  # or gRPC metadata; names in lower case
        self.started_s = time.monotonic() if started_s is None else started_s
        self.deadline_s = float("inf")  # in time.monotonic()
        self.tenant = ""  # the name of the caller's key
        self.route_key: str | None = None
        self.route = "other"  # the door's name for metrics, never the path as sent
        self.model = self.version = self.cohort = ""  # who answers, once chosen
        self.cache = "bypass"
        self.steps_s: dict[str, float] = {}
