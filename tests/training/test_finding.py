"""Tests of training/finding.py."""

import pytest

from training.finding import Level, limit


@pytest.mark.parametrize(
    ("share", "level"), [(0.0, Level.FINE), (0.01, Level.WARNING), (0.05, Level.WARNING), (0.06, Level.FAILURE)]
)
def test_a_share_is_fine_at_zero_and_a_failure_above_the_limit(share: float, level: Level) -> None:
    found = limit("leakage", "some leak", share=share, most=0.05, change="remove them")
    assert found.level is level
    assert found.change == ("" if level is Level.FINE else "remove them")
    assert ("more than the 5.0% allowed" in found.found) is (level is Level.FAILURE)
