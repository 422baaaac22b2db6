"""Rate limits: the arithmetic of the bucket, and the limiter that keeps one a key."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.caller import Caller, Rate
from gateway.errors import RateLimitedError
from gateway.metrics import Metrics
from gateway.security.rate_limit import Decision, RateLimiter, decide

RATES = st.builds(Rate, st.floats(0.01, 1e4), st.integers(1, 1000))


@pytest.mark.parametrize(
    ("now_s", "full_at_s", "decision"),
    [
        (100.0, 0.0, Decision(0.0, 100.5)),  # an untouched bucket
        (100.0, 100.5, Decision(0.0, 101.0)),
        (100.0, 101.0, Decision(0.0, 101.5)),  # the last of a burst of three
        (100.0, 101.5, Decision(0.5, 101.5)),  # refused, and nothing is taken
        (100.25, 101.5, Decision(0.25, 101.5)),
        (100.5, 101.5, Decision(0.0, 102.0)),  # one has come back
        (999.0, 101.5, Decision(0.0, 999.5)),  # full again, not fuller
        (100.0, 400.0, Decision(0.5, 101.5)),  # emptied at a lower rate: as empty as can be at this one
    ],
)
def test_two_a_second_and_three_at_once(now_s: float, full_at_s: float, decision: Decision) -> None:
    assert decide(now_s, full_at_s, Rate(2, 3)) == decision


@given(RATES, st.lists(st.floats(0, 10), max_size=200))
def test_never_more_than_the_burst_and_what_came_back(rate: Rate, pauses: list[float]) -> None:
    now_s, full_at_s, passed = 1000.0, 0.0, 0
    for pause_s in pauses:
        now_s += pause_s
        decision = decide(now_s, full_at_s, rate)
        full_at_s = decision.full_at_s
        passed += decision.wait_s == 0
        assert passed <= rate.burst + (now_s - 1000.0) * rate.per_s + 1e-3


@given(RATES)
def test_a_whole_burst_passes_and_the_next_is_told_when(rate: Rate) -> None:
    now_s, full_at_s = 1000.0, 0.0
    for _ in range(rate.burst):
        decision = decide(now_s, full_at_s, rate)
        assert decision.wait_s == 0
        full_at_s = decision.full_at_s
    refused = decide(now_s, full_at_s, rate)
    assert math.isclose(refused.wait_s, 1 / rate.per_s, rel_tol=1e-3, abs_tol=1e-6)
    assert decide(now_s + refused.wait_s, full_at_s, rate).wait_s == 0


class Shared:
    """Shared buckets that say what they are told to."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s

    async def take(self, name: str, rate: Rate) -> float | None:  # noqa: ARG002
        return self.wait_s


async def test_every_name_has_its_own_bucket_and_both_keys_of_a_name_one() -> None:
    metrics = Metrics()
    limiter = RateLimiter(metrics)
    await limiter.admit(Caller("alice", "a", Rate(0.01, 1)))
    await limiter.admit(Caller("bob", "a", Rate(0.01, 1)))
    await limiter.admit(Caller("carol", "a"))
    with pytest.raises(RateLimitedError, match=r"'alice' may send 0.01 requests a second and 1 at once") as refused:
        await limiter.admit(Caller("alice", "a", Rate(0.01, 1)))
    assert 99 < refused.value.retry_after_s <= 100
    assert metrics.registry.get_sample_value("retort_shed_total", {"reason": "rate"}) == 1


async def test_what_is_shared_decides_and_this_process_when_it_does_not() -> None:
    caller = Caller("alice", "a", Rate(0.01, 1))
    open_, closed, lost = (RateLimiter(Metrics(), Shared(wait_s)) for wait_s in (0.0, 7.5, None))
    await open_.admit(caller)
    await open_.admit(caller)
    with pytest.raises(RateLimitedError) as refused:
        await closed.admit(caller)
    assert refused.value.retry_after_s == 7.5
    await lost.admit(caller)
    with pytest.raises(RateLimitedError):
        await lost.admit(caller)
