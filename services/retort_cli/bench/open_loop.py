"""The open loop: a constant rate of arrivals that does not wait for answers, as callers do not."""

from dataclasses import dataclass

from retort_cli.bench.load import Row, summarise
from retort_cli.bench.setup import Setup

# What the reference chapter's service reached ("Best Practices and Production Case Studies"), as a rate to hold.
RATE = 127.0
P99_TARGET_MS = 50.0


@dataclass(frozen=True)
class OpenLoop:
    """`row` counts latency from when a request was due."""

    rate: float
    row: Row
    p99_target_ms: float
    is_met: bool


def run(setup: Setup) -> OpenLoop:
    """Send the plan's rate for the plan's time, every round."""
    plan, port = setup.plan, setup.gateway.http
    loads = []
    for number in range(plan.rounds):
        setup.sockets.load_at(port, plan.open_loop_rate, plan.warmup_s)
        loads.append(setup.sockets.load_at(port, plan.open_loop_rate, plan.open_loop_s))
        setup.say(
            f"round {number + 1}/{plan.rounds}  {plan.open_loop_rate:g} requests/s: p50 {loads[-1].p50_ms:.2f} ms, "
            f"p99 {loads[-1].p99_ms:.2f} ms, {loads[-1].errors} errors"
        )
    row = summarise("gateway /predict, open loop", loads)
    return OpenLoop(plan.open_loop_rate, row, P99_TARGET_MS, row.p99_ms < P99_TARGET_MS and not row.errors)
