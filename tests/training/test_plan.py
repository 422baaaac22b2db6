"""Tests of training/plan.py."""

import pytest

from training.config import Fit
from training.plan import Plan, warmup_decay


@pytest.mark.parametrize(
    ("step", "steps", "warmup", "factor"),
    [(0, 100, 0.1, 0.1), (4, 100, 0.1, 0.5), (9, 100, 0.1, 1.0), (55, 100, 0.1, 0.5), (99, 100, 0.1, 1 / 90)],
)
def test_the_rate_rises_then_falls_linearly(step: int, steps: int, warmup: float, factor: float) -> None:
    assert warmup_decay(step, steps, warmup) == pytest.approx(factor)


def test_no_warmup_starts_at_the_full_rate_and_ends_above_zero() -> None:
    assert warmup_decay(0, 10, 0.0) == 1.0
    assert 0 < warmup_decay(9, 10, 0.0) < 0.2


def test_every_epoch_has_every_row_once_in_another_order() -> None:
    plan = Plan([i % 9 for i in range(50)], Fit(epochs=2, learning_rate=1.0, batch_size=8), seed=1)
    assert (plan.steps_an_epoch, plan.steps) == (7, 14)
    epochs = [[row for step in steps for row in plan.rows(step)] for steps in (range(7), range(7, 14))]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]
    assert Plan([i % 9 for i in range(50)], plan.fit, seed=1).rows(9) == plan.rows(9)  # whoever asks first for step 9


@pytest.mark.parametrize(("every", "due"), [(0, [7, 14]), (4, [4, 8, 12, 14])])
def test_validation_is_due_on_schedule_and_at_the_end(every: int, due: list[int]) -> None:
    plan = Plan([1] * 50, Fit(epochs=2, learning_rate=1.0, batch_size=8, validate_steps=every), seed=1)
    assert [done for done in range(1, 15) if plan.validates_after(done)] == due
