"""h2load: its summary and its log are read; gRPC's frame is what gRPC says."""

import pytest

from retort_cli.bench.h2load import grpc_frame, parse
from retort_cli.errors import CommandError

SUMMARY = """starting benchmark...
finished in {took}, 2.00 req/s, 1.00KB/s
requests: 5 total, 6 started, 5 done, 4 succeeded, {failed} failed, 0 errored, 0 timeout
status codes: 3 2xx, 0 3xx, 1 4xx, 1 5xx
"""
LOG = ["1700000000000000\t200\t1500\t8192\t8192", "1\t200\t500", "1\t503\t90", "1\t200\t2500", "1\t-1\t70"]


@pytest.mark.parametrize(("took", "seconds"), [("2.00s", 2.0), ("500.25ms", 0.50025), ("900us", 0.0009)])
def test_latencies_are_of_what_was_answered_well(took: str, seconds: float) -> None:
    load = parse(SUMMARY.format(took=took, failed=1), LOG, "h2load ...", 8)
    assert load.seconds == pytest.approx(seconds)
    assert (load.requests, load.errors) == (3, 2)
    assert (load.p50_ms, load.p99_ms) == (1.5, 2.5)


def test_failures_that_the_log_does_not_have_count() -> None:
    assert parse(SUMMARY.format(took="1.00s", failed=30), LOG, "h2load ...", 8).errors == 30


def test_output_without_a_summary_is_shown() -> None:
    with pytest.raises(CommandError, match="h2load x printed no summary, but: Could not connect"):
        parse("Could not connect", [], "h2load x", 1)


def test_a_grpc_message_has_its_length_in_front() -> None:
    assert grpc_frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
