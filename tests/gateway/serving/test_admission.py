"""Admission: bounded, and honest again when somebody leaves."""

import pytest

from gateway.errors import OverloadedError
from gateway.metrics import Metrics
from gateway.serving.admission import Admission, RawShare


def test_refuses_when_full_and_admits_again() -> None:
    metrics = Metrics()
    admission = Admission(1, metrics)
    with admission:
        assert metrics.registry.get_sample_value("retort_inflight_requests") == 1
        with pytest.raises(OverloadedError, match="the limit is 1"), admission:
            pass
    with admission:
        pass
    assert metrics.registry.get_sample_value("retort_inflight_requests") == 0
    assert metrics.registry.get_sample_value("retort_shed_total", {"reason": "inflight"}) == 1


def test_an_error_inside_gives_the_place_back() -> None:
    admission = Admission(1, Metrics())
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), admission:
            raise ValueError("inside")


def test_the_share_of_raw_calls_is_bounded_in_rows_and_in_tokens_and_one_may_always_be_there() -> None:
    metrics = Metrics()
    share = RawShare(4, 100, metrics)
    with share.taken(32, 512):  # more than the share, but alone
        for rows, length in ((1, 1), (5, 1)):
            with pytest.raises(OverloadedError, match="already"), share.taken(rows, length):
                pass
    with share.taken(2, 30):
        with share.taken(2, 20), pytest.raises(OverloadedError, match="4 rows of 100"), share.taken(1, 1):
            pass
        with pytest.raises(OverloadedError, match="100 tokens"), share.taken(1, 41):
            pass
    assert metrics.registry.get_sample_value("retort_shed_total", {"reason": "raw"}) == 4
