"""The soak: many requests, and the gateway's resident memory before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from retort_cli.bench.setup import Setup
from retort_cli.errors import CommandError

REQUESTS = 300_000
WARMUP_SHARE = 0.1
SLICE_S = 10
GROWTH_TARGET_MB = 5.0
RESIDENT_TARGET_MB = 250.0


@dataclass(frozen=True)
class Sample:
    """Resident memory after so many requests, warm-up included."""

    requests: int
    resident_mb: float


@dataclass(frozen=True)
class Soak:
    """`samples` begin at the end of the warm-up; `growth_mb` is from the first to the last."""

    requests: int
    warmup_requests: int
    errors: int
    samples: list[Sample]
    growth_mb: float
    is_met: bool


def run(setup: Setup) -> Soak:
    """Send a tenth as warm-up, then the plan's number of requests, in slices of seconds; a sample a slice."""
    wanted = setup.plan.soak_requests
    sent = errors = 0
    samples: list[Sample] = []
    while not samples or sent - samples[0].requests < wanted:
        load = setup.http.load(setup.gateway.http, setup.plan.busy, min(SLICE_S, setup.plan.seconds))
        if not load.requests:
            raise CommandError(f"the gateway answered none of {load.errors} requests of the soak")
        sent, errors = sent + load.requests, errors + load.errors
        if sent >= wanted * WARMUP_SHARE:
            samples.append(Sample(sent, setup.gateway.resident_mb))
            setup.say(f"{sent} requests: {samples[-1].resident_mb:.1f} MB resident")
    return judge(samples, errors)


def judge(samples: Sequence[Sample], errors: int) -> Soak:
    """Return the growth from the end of the warm-up to the last sample."""
    first, last = samples[0], samples[-1]
    growth_mb = last.resident_mb - first.resident_mb
    return Soak(
        requests=last.requests - first.requests,
        warmup_requests=first.requests,
        errors=errors,
        samples=list(samples),
        growth_mb=growth_mb,
        is_met=growth_mb < GROWTH_TARGET_MB and last.resident_mb < RESIDENT_TARGET_MB and not errors,
    )
