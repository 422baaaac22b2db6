"""The breaker's arithmetic."""

from gateway.breaker import MAX_BACKOFF_S, MAX_FAILURES, Breaker


def test_opens_after_failures_in_a_row_and_closes_on_an_answer() -> None:
    breaker = Breaker()
    for _ in range(MAX_FAILURES - 1):
        breaker.failed()
    breaker.answered()
    for _ in range(MAX_FAILURES - 1):
        breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    breaker.answered()
    assert not breaker.is_open


def test_the_back_off_doubles_up_to_its_cap_and_never_exceeds_the_interval() -> None:
    breaker = Breaker()
    assert breaker.probe_in_s(2.0) == 2.0
    waits_s = []
    for _ in range(6):
        breaker.failed()
        waits_s.append(breaker.probe_in_s(2.0))
    assert waits_s == [0.05, 0.1, 0.2, 0.4, MAX_BACKOFF_S, MAX_BACKOFF_S]
    breaker.failures = 10**9
    assert breaker.probe_in_s(2.0) == MAX_BACKOFF_S <= 1.0
    assert breaker.probe_in_s(0.01) == 0.01
