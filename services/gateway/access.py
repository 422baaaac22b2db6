"""The record of an answered request: metrics, spans and one log line, the same for both doors."""

import logging
import time

from gateway.call import Call
from gateway.metrics import LabelCache, Metrics
from gateway.tracing import Tracer

log = logging.getLogger("gateway.access")

CLIENT_LEFT = 499  # nginx's number: nobody sees it but metrics and the log


class AccessLog:
    """Counts, times, traces and logs answers; a caller's text only where an operator switched that on."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics, self._tracer = LabelCache(metrics), tracer

    def began(self, call: Call) -> None:
        """Begin the record; the first thing that happens to a call."""
        self._tracer.begin(call)

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
        self._tracer.finish(call, method, status)
        shown = status >= 400 or call.text is not None
        level = logging.WARNING if status >= 500 else logging.INFO if shown else logging.DEBUG
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
                "key": call.caller.name,
                "tenant": call.caller.tenant,
            }
            if call.text is not None:
                fields["text"] = call.text
            if call.trace is not None:
                fields["trace_id"] = f"{call.trace.trace_id:032x}"
            log.log(level, "request", extra={"fields": fields})
