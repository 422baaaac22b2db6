"""Tests of training/rate_finder.py."""

import pytest

from tests.training import lesson
from training import rate_finder, teacher
from training.machine import Machine
from training.rate_finder import Sweep


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_suggested() -> None:
    assert Sweep((1e-5, 1e-4, 1e-3, 1e-2), (2.0, 1.9, 1.0, 5.0)).suggestion == pytest.approx(1e-4)


def test_a_sweep_rises_to_where_the_lesson_learns_and_ends_when_it_blows_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rate_finder.sweep(lesson.model(), lesson.DATA, teacher.cross_entropy, 8, 1, Machine())
    assert list(found.rates) == sorted(found.rates)
    assert found.losses[0] == pytest.approx(0.69, abs=0.1)
    assert min(found.losses) < 0.6
    assert 1e-4 < found.suggestion < 1e-2
    monkeypatch.setattr(rate_finder, "BLOWN_UP", 0.0)
    assert len(rate_finder.sweep(lesson.model(), lesson.DATA, teacher.cross_entropy, 8, 1, Machine()).rates) == 1
