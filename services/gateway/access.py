"""The record of an answered request: metrics and one log line, the same for both doors."""

import logging
import time

from gateway.call import Call
from gateway.metrics import LabelCache, Metrics

log = logging.getLogger("gateway.access")

CLIENT_LEFT = 499  # nginx's number: nobody sees it but metrics and the log


class AccessLog:
    """Counts, times and logs answers; never a caller's text."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = LabelCache(metrics)

    def answered(self, call: Call, method: str, status: int) -> None:
        """Record one answer; `status` is HTTP's for both doors, so that one alert watches both."""
        seconds = time.monotonic() - call.started_s
        self._metrics.answered(
            route=call.route,
            model=call.model,
            version=call.version,
            cohort=call.cohort,
            code=str(status),
            seconds=seconds,
        )
        level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
        if log.isEnabledFor(level):
            fields = {
                "request_id": call.request_id,
                "method": method,
                "route": call.route,
                "status": status,
                "ms": round(seconds * 1e3, 3),
                "steps_ms": {step: round(took_s * 1e3, 3) for step, took_s in call.steps_s.items()},
                "model": call.model,
                "version": call.version,
                "cohort": call.cohort,
                "tenant": call.tenant,
            }
            log.log(level, "request", extra={"fields": fields})
