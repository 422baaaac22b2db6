"""Admission: bounded, and honest again when somebody leaves."""

import pytest

from gateway.errors import OverloadedError
from gateway.metrics import Metrics
from gateway.serving.admission import Admission


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
