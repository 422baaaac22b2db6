"""The export of spans: made after the fact, queued, and sent to an OpenTelemetry collector by a thread of its own."""

import asyncio
import logging
import threading
import time
from itertools import pairwise
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.call import Call
from gateway.trace_context import TraceContext, new_id

log = logging.getLogger(__name__)

MAX_QUEUED_SPANS = 8192  # more are dropped, the oldest first
BATCH_SPANS = 512
BATCH_EVERY_MS = 1000
EXPORT_TIMEOUT_S = 5.0  # what the collector did not take by then, retries included, is lost
FLUSH_S = 2.0
FLUSH_THREAD = "flush of spans"
COMPLAIN_EVERY_S = 60.0
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
STATUS = {False: Status(StatusCode.UNSET), True: Status(StatusCode.ERROR)}


class OtlpExport:
    """Spans over OTLP/HTTP. `put` only queues; a collector that is slow or gone costs spans, never a request."""

    def __init__(self, endpoint: str, release: str) -> None:
        self._complaints = Complaints()
        logger = logging.getLogger("opentelemetry")
        logger.handlers, logger.propagate = [self._complaints], False
        ours = Resource.create({"service.name": "retort-gateway", "service.version": release})
        self._resource = ours.merge(OTELResourceDetector().detect())  # the operator's OTEL_SERVICE_NAME and such win
        self._scope = InstrumentationScope("gateway", release)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
        self._queue = BatchSpanProcessor(
            self._exporter,
            max_queue_size=MAX_QUEUED_SPANS,
            schedule_delay_millis=BATCH_EVERY_MS,
            max_export_batch_size=BATCH_SPANS,
        )

    def put(self, call: Call, trace: TraceContext, method: str, status: int) -> None:
        """Queue the spans of a call that was answered now: one for the request and, below it, one for each step.

        As the semantic conventions have it, a server's span is in error from 500 on (a 4xx is the caller's), and so is
        the step that was under way.
        """
        now_s, to_epoch_ns = time.monotonic(), time.time_ns() - time.monotonic_ns()
        failed = status >= 500
        state = TraceState.from_header([trace.state]) if trace.state else None
        request = _context(trace, trace.span_id, state)
        parent = _context(trace, trace.parent_id, state, is_remote=True) if trace.parent_id else None

        def queue(name: str, own: SpanContext, start_s: float, end_s: float, **more: Any) -> None:
            # Made directly: the SDK's tracer chooses the ids itself, and takes 31 us for four spans; this takes 8.
            span = ReadableSpan(
                name,
                own,
                resource=self._resource,
                status=STATUS[failed and end_s == now_s],
                start_time=to_epoch_ns + int(start_s * 1e9),
                end_time=to_epoch_ns + int(end_s * 1e9),
                instrumentation_scope=self._scope,
                **more,
            )
            self._queue.on_end(span)

        about = _about(call, method, status)
        queue(call.route, request, call.started_s, now_s, parent=parent, kind=SpanKind.SERVER, attributes=about)
        # A step lasts until the next begins; one that failed, until now.
        for (step, began_s), (_, ended_s) in pairwise([*trace.steps, (None, now_s)]):
            if step == "triton":
                own = _context(trace, trace.upstream_id, state)
                links = [Link(_context(other, other.upstream_id, None)) for other in trace.carriers]
                queue(step, own, began_s, ended_s, parent=request, kind=SpanKind.CLIENT, links=links)
            elif step is not None:
                queue(step, _context(trace, new_id(), state), began_s, ended_s, parent=request)

    async def close(self) -> None:
        """Send what is queued, for FLUSH_S at most; the rest is lost."""
        # Not on the loop's executor: the process would wait for it, and so for a collector that does not answer.
        flush = threading.Thread(target=self._queue.shutdown, name=FLUSH_THREAD, daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_S)
        if flush.is_alive():
            log.warning("the collector did not take the last spans within %s s: they are lost", FLUSH_S)
            self._complaints.setLevel(logging.CRITICAL)  # it would say so again, from its thread
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends a wait for the next try


class Complaints(logging.Handler):
    """Hands on what OpenTelemetry complains about, a line a minute at most: a dead collector has it say a lot."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Log the complaint, if it is time."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + COMPLAIN_EVERY_S
            log.warning("spans may be lost: %s", record.getMessage()[:300])


def _context(trace: TraceContext, span_id: int, state: TraceState | None, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, is_remote, SAMPLED, state)


def _about(call: Call, method: str, status: int) -> dict[str, str | int]:
    """Return what the request's span says; never the text."""
    about: dict[str, str | int] = {
        "retort.request_id": call.request_id,
        "retort.route": call.route,
        "retort.model": call.model,
        "retort.version": call.version,
        "retort.cohort": call.cohort,
        "retort.tenant": call.caller.tenant,
        "retort.status": status,  # HTTP's numbers for both doors, as in the metrics
    }
    if method == "gRPC":
        about["rpc.system"] = "grpc"
    else:
        about |= {"http.request.method": method, "http.response.status_code": status}
    if status >= 500:
        about["error.type"] = str(status)
    return {name: value for name, value in about.items() if value != ""}
