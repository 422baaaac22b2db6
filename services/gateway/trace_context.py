"""The trace context of one request: W3C's `traceparent` and `tracestate` in and out, and when its steps began."""

import random
import re
import time
from collections.abc import Mapping, Sequence

TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
TRACESTATE = re.compile(rb"[\x20-\x7e]{1,512}")  # more is not a header by the standard, and no metadata of gRPC's
SAMPLED = 1
LOW_BITS = 2**64 - 1
Metadata = tuple[tuple[str, str], ...]


class TraceContext:
    """Which trace a request belongs to, and its own spans in it; ids are integers, 0 is none.

    `upstream_id` is the span of the step `triton`: whatever Triton records hangs below it. It is chosen now, because
    Triton must know it before the span is made.
    """

    __slots__ = ("carriers", "is_sampled", "parent_id", "span_id", "state", "steps", "trace_id", "upstream_id")

    def __init__(self, trace_id: int, parent_id: int, state: str, *, is_sampled: bool) -> None:
        self.trace_id, self.parent_id, self.state, self.is_sampled = trace_id, parent_id, state, is_sampled
        self.span_id, self.upstream_id = new_id(), new_id()
        self.steps: list[tuple[str | None, float]] = []  # name and begin in time.monotonic(); None: nothing more
        self.carriers: list[TraceContext] = []  # whose context the calls to Triton carried, when it was another's

    def began(self, step: str | None) -> None:
        """Note that a step begins now, and the one before it ends; None only ends. Unsampled: notes nothing."""
        if self.is_sampled and not (self.steps and self.steps[-1][0] == step):
            self.steps.append((step, time.monotonic()))

    def metadata(self) -> Metadata:
        """Return what a call to Triton on behalf of this request, which is sampled, carries."""
        parent = ("traceparent", f"00-{self.trace_id:032x}-{self.upstream_id:016x}-01")
        return (parent, ("tracestate", self.state)) if self.state else (parent,)


def new_id() -> int:
    """Return a span's id. It protects nothing: the system's random source would cost a system call each time."""
    return random.getrandbits(64) or 1


def read(headers: Mapping[bytes, bytes], share: float) -> TraceContext:
    """Return the caller's trace, sampled as the caller says; without a valid one a new trace, sampled by `share`."""
    match = TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if match is not None:
        version, trace_id, parent_id, flags, more = match.groups()
        # Version 00 ends with the flags; later ones may go on; ff and zeros are invalid.
        if version != b"ff" and not (version == b"00" and more) and trace_id.strip(b"0") and parent_id.strip(b"0"):
            state = headers.get(b"tracestate", b"")
            return TraceContext(
                int(trace_id, 16),
                int(parent_id, 16),
                state.decode("ascii") if TRACESTATE.fullmatch(state) else "",
                is_sampled=bool(int(flags, 16) & SAMPLED),
            )
    trace_id = random.getrandbits(128) or 1
    # By the id, as OpenTelemetry's samplers have it: services with the same share sample the same traces.
    return TraceContext(trace_id, 0, "", is_sampled=trace_id & LOW_BITS < share * (LOW_BITS + 1))


def carry(traces: Sequence[TraceContext]) -> Metadata:
    """Begin the step `triton` of requests that share one call to it; return the metadata of that call.

    A call has room for one context: that of the first sampled request, which is the oldest one's if that is sampled.
    The others remember it, and their spans of this step link to the one below which Triton's own spans are. Unsampled
    ones are not passed on: Triton 2.51 records whatever comes with a `traceparent`, also with the flag off.
    """
    sampled = [trace for trace in traces if trace.is_sampled]
    if not sampled:
        return ()
    carrier = sampled[0]
    for trace in sampled:
        trace.began("triton")
        if trace is not carrier and carrier not in trace.carriers:
            trace.carriers.append(carrier)
    return carrier.metadata()
