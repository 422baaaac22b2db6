"""The governor: it leaves a tier that loses, keeps one that pays, looks again, and says why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.governor import (
    FIRST_PAUSE_S,
    FIRST_REQUESTS,
    LOSES_BELOW,
    MAX_PAUSE_S,
    PAYS_ABOVE,
    PROBE_REQUESTS,
    PROBE_SPACING,
    Costs,
    Governor,
    Measures,
    Phase,
    State,
    rule,
)

SLOW_MODEL = Costs(lookup_s=0.0004, insertion_s=0.0005, inference_s=0.040, hit_rate=0.5, audit_share=0.05)
FAST_MODEL = replace(SLOW_MODEL, inference_s=0.0009)
RESTED = PROBE_SPACING * PROBE_REQUESTS


def ratio(times: float) -> Costs:
    """Return costs of which so many times as much is saved."""
    return Costs(lookup_s=0.0001, insertion_s=0.0, inference_s=times * 0.0002, hit_rate=0.5, audit_share=0.0)


def test_what_is_saved_and_spent() -> None:
    assert FAST_MODEL.saved_s == pytest.approx(0.00045)
    assert FAST_MODEL.spent_s == pytest.approx(0.0004 + 0.5 * 0.0005 + 0.05 * 0.0009)
    assert FAST_MODEL.why == (
        "saves 0.450 ms a request (50.0% hits x 0.900 ms of inference) "
        "and costs 0.695 ms (lookup 0.400, insertion 0.250, audits 0.045)"
    )


def test_a_slow_model_keeps_its_tier_and_a_fast_one_loses_it() -> None:
    slow = rule(State(), SLOW_MODEL, FIRST_REQUESTS, now_s=10)
    fast = rule(State(), FAST_MODEL, FIRST_REQUESTS, now_s=10)
    assert (slow.phase, slow.on, slow.why) == (Phase.ON, True, f"on: {SLOW_MODEL.why}")
    assert (fast.phase, fast.on, fast.why) == (Phase.OFF, False, f"off for 60 s or more: {FAST_MODEL.why}")


def test_a_filling_cache_is_not_judged() -> None:
    assert rule(State(), FAST_MODEL, FIRST_REQUESTS - 1, now_s=10).phase is Phase.FILLING


@pytest.mark.parametrize("phase", [Phase.FILLING, Phase.ON, Phase.PROBE])
def test_hits_without_one_inference_tell_nothing(phase: Phase) -> None:
    state = State(phase, requests=10**6)
    assert rule(state, replace(SLOW_MODEL, inference_s=0.0, hit_rate=1.0), 1, now_s=10).phase is phase


@given(st.floats(LOSES_BELOW + 0.01, PAYS_ABOVE - 0.01))
def test_nothing_changes_near_the_break_even_point(times: float) -> None:
    assert rule(State(Phase.ON), ratio(times), 100, now_s=10).phase is Phase.ON
    assert rule(State(Phase.PROBE), ratio(times), PROBE_REQUESTS, now_s=10).phase is Phase.OFF


def test_beyond_it_something_does() -> None:
    assert rule(State(Phase.ON), ratio(LOSES_BELOW - 0.01), 1, now_s=10).phase is Phase.OFF
    assert rule(State(Phase.PROBE), ratio(PAYS_ABOVE + 0.01), PROBE_REQUESTS, now_s=10).phase is Phase.ON


def test_it_looks_again_after_the_pause_and_fifty_times_the_requests_of_a_look() -> None:
    off = State(Phase.OFF, since_s=100)
    assert rule(off, FAST_MODEL, RESTED, now_s=100 + FIRST_PAUSE_S - 1).phase is Phase.OFF
    assert rule(off, FAST_MODEL, RESTED - 1, now_s=100 + MAX_PAUSE_S).phase is Phase.OFF
    probe = rule(off, FAST_MODEL, RESTED, now_s=100 + FIRST_PAUSE_S)
    assert (probe.phase, probe.on, probe.requests) == (Phase.PROBE, True, 0)
    assert rule(probe, FAST_MODEL, PROBE_REQUESTS - 1, now_s=1_000).phase is Phase.PROBE


def test_looks_that_find_nothing_become_rare_and_one_that_does_forgets_that() -> None:
    state, pauses_s = State(Phase.OFF), []
    for _ in range(6):
        state = replace(rule(state, FAST_MODEL, RESTED, state.since_s + state.pause_s), since_s=0.0)
        state = rule(state, FAST_MODEL, PROBE_REQUESTS, 0.0)
        pauses_s.append(state.pause_s)
    assert pauses_s == [120, 240, 480, 960, MAX_PAUSE_S, MAX_PAUSE_S]
    state = rule(State(Phase.PROBE, pause_s=480.0), SLOW_MODEL, PROBE_REQUESTS, 0.0)
    assert (state.phase, state.pause_s) == (Phase.ON, FIRST_PAUSE_S)


def test_means_forget() -> None:
    measures = Measures()
    for seconds in (0.001, 0.101):
        for _ in range(2_000):
            measures.looked_up(seconds, hit=seconds < 0.1)
        measures.fade(2_000)
    assert measures.costs().lookup_s == pytest.approx((0.001 + 2 * 0.101) / 3)
    assert measures.costs().hit_rate == pytest.approx(1 / 3)
    assert Measures().costs() == Costs(0.0, 0.0, 0.0, 0.0, 0.0)


class Traffic:
    """A gateway with 2,000 requests a second and a cache in front of a model."""

    def __init__(self) -> None:
        self.governor, self.now_s, self.passed, self.through = Governor(now_s=0.0), 0.0, 0, 0

    def run(self, seconds: int, inference_s: float, hit_every: int) -> State:
        """Send requests for a while."""
        for _ in range(seconds):
            for i in range(2_000):
                self.one(inference_s, hit=i % hit_every == 0, audited=i % (10 * hit_every) == 0)
            self.now_s += 1
            self.governor.rule(self.now_s)
        return self.governor.state

    def one(self, inference_s: float, *, hit: bool, audited: bool) -> None:
        """Answer one request."""
        through = self.governor.admits()
        self.through, self.passed = self.through + through, self.passed + (not through)
        if through:
            self.governor.measures.looked_up(0.0004, hit=hit, audited=audited)
            if not hit:
                self.governor.measures.inserted(0.0005)
        if not through or not hit or audited:
            self.governor.measures.inferred(inference_s)


def test_a_fast_model_costs_one_request_in_fifty_and_a_slow_one_gets_its_tier_back() -> None:
    traffic = Traffic()
    assert traffic.run(5, 0.0009, hit_every=2).phase is Phase.OFF
    traffic.through = traffic.passed = 0
    traffic.run(300, 0.0009, hit_every=2)
    assert traffic.through > 0  # it did look again
    assert traffic.through <= traffic.passed / PROBE_SPACING
    state = traffic.run(500, 0.040, hit_every=2)  # the model became slow
    assert state.phase is Phase.ON
    assert "40.0" in state.why
    assert traffic.run(5, 0.040, hit_every=2_000).phase is Phase.OFF  # the hits went away


def test_a_look_measures_hits_anew() -> None:
    traffic = Traffic()
    assert traffic.run(5, 0.002, hit_every=2_000).phase is Phase.OFF
    while traffic.governor.state.phase is not Phase.PROBE:
        traffic.run(1, 0.002, hit_every=1)
    measures = traffic.governor.measures
    assert (measures.hits.weight, measures.lookup_s.weight) == (0, 0)
    assert measures.costs().inference_s == pytest.approx(0.002)  # it was measured all the time
