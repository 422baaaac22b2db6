"""Tests of training/loop.py."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training import base, loop, loss
from training.config import Fit
from training.encoding import Batch, Encoded

DATA = Encoded(tuple((2, 5 + i % 2, *([7] * (i % 9)), 3) for i in range(64)), tuple(i % 2 for i in range(64)), pad_id=0)


@pytest.mark.parametrize(
    ("step", "steps", "warmup", "factor"),
    [(0, 100, 0.1, 0.1), (4, 100, 0.1, 0.5), (9, 100, 0.1, 1.0), (55, 100, 0.1, 0.5), (99, 100, 0.1, 1 / 90)],
)
def test_the_rate_rises_then_falls_linearly(step: int, steps: int, warmup: float, factor: float) -> None:
    assert loop.warmup_decay(step, steps, warmup) == pytest.approx(factor)


def test_no_warmup_starts_at_the_full_rate_and_ends_above_zero() -> None:
    assert loop.warmup_decay(0, 10, 0.0) == 1.0
    assert 0 < loop.warmup_decay(9, 10, 0.0) < 0.2


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """The teacher's loss."""
    return loss.labels(loop.logits_of(model, batch), batch.labels)


def trained(tiny_base: Path, seed: int) -> nn.Module:
    """A model that learned to tell token 5 from token 6."""
    torch.manual_seed(seed)
    model = base.load_classifier(tiny_base, ("a", "b"))
    return loop.fit(model, DATA, cross_entropy, Fit(6, 3e-3, batch_size=8), Accelerator(), seed=seed, title="t")


def test_fit_learns_and_predict_answers_in_the_order_of_the_data(tiny_base: Path) -> None:
    model = trained(tiny_base, 1)
    assert not model.training
    found = loop.predict(model, DATA, Accelerator(), title="p", batch_size=10).argmax(-1)
    assert found.tolist() == list(DATA.labels)


def test_the_same_seed_gives_the_same_weights(tiny_base: Path) -> None:
    one, two, other = (trained(tiny_base, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_weight_decay_leaves_biases_and_norms_alone(tiny_base: Path) -> None:
    decayed, free = loop._decayed(base.load_classifier(tiny_base, ("a", "b")), 0.5)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert all(value.ndim > 1 for value in decayed["params"])  # type: ignore[attr-defined]
    assert all(value.ndim <= 1 for value in free["params"])  # type: ignore[attr-defined]
