"""The trace context: W3C's headers in and out, sampling, steps, and who carries a batch."""

import pytest

from gateway.trace_context import TraceContext, carry, read

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize(
    ("traceparent", "sampled"),
    [
        (GOOD, True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-03", True),  # sampled and random
        (f"00-{TRACE}-{PARENT}-02", False),
        (f"01-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-comes", True),
    ],
)
def test_the_caller_decides_whatever_our_share(traceparent: str, sampled: bool, share: float) -> None:
    trace = read({b"traceparent": traceparent.encode(), b"tracestate": b"vendor=1,other=2"}, share)
    assert (trace.trace_id, trace.parent_id) == (int(TRACE, 16), int(PARENT, 16))
    assert (trace.is_sampled, trace.state) == (sampled, "vendor=1,other=2")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        GOOD[:-1],
        GOOD.upper(),
        f"{GOOD}-more",
        f"{GOOD}\n",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-0g",
        "00-" * 10_000,
    ],
)
def test_a_malformed_one_is_ignored_and_its_state_with_it(traceparent: str) -> None:
    trace = read({b"traceparent": traceparent.encode(), b"tracestate": b"vendor=1"}, 1.0)
    assert trace.trace_id not in (0, int(TRACE, 16))
    assert (trace.parent_id, trace.state, trace.is_sampled) == (0, "", True)


@pytest.mark.parametrize("state", [b"", b"a" * 513, "ä=1".encode(), b"a=\x01"])
def test_a_state_that_no_metadata_can_hold_is_dropped(state: bytes) -> None:
    assert read({b"traceparent": GOOD.encode(), b"tracestate": state}, 1.0).state == ""


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_new_traces_are_sampled_by_share(share: float) -> None:
    sampled = sum(read({}, share).is_sampled for _ in range(4000))
    assert abs(sampled / 4000 - share) <= (0.05 if 0 < share < 1 else 0)


def trace(trace_id: int, *, sampled: bool = True) -> TraceContext:
    """A trace without a caller."""
    return TraceContext(trace_id, 0, "", is_sampled=sampled)


def test_the_first_sampled_request_carries_a_batch_and_the_others_remember_it() -> None:
    unsampled, first, second = trace(1, sampled=False), trace(2), trace(3)
    for _ in range(2):  # two batches: remembered once
        assert carry([unsampled, first, second]) == (("traceparent", f"00-{2:032x}-{first.upstream_id:016x}-01"),)
    assert (first.carriers, second.carriers) == ([], [first])
    assert [step for step, _ in second.steps] == ["triton"]
    assert unsampled.steps == []


def test_the_callers_state_goes_on() -> None:
    only = TraceContext(1, 2, "vendor=1", is_sampled=True)
    assert carry([only])[1:] == (("tracestate", "vendor=1"),)


def test_unsampled_requests_are_not_passed_on() -> None:
    assert carry([trace(1, sampled=False)]) == ()
    assert carry([]) == ()
