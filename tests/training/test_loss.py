"""Tests of training/loss.py against values worked out by hand."""

import math

import pytest
import torch

from training import loss


def test_soft_labels_by_hand() -> None:
    # Teacher 3:1, student 1:1. KL = 0.75 ln(0.75/0.5) + 0.25 ln(0.25/0.5)
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    student = torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(loss.soft_labels(student, teacher, 1.0)) == pytest.approx(expected, abs=1e-6)


def test_soft_labels_divide_logits_by_the_temperature_and_give_the_square_back() -> None:
    # At temperature 2 the logit 2 ln 3 is ln 3 again; the result is 4 times the divergence at temperature 1.
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]] * 3)
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(loss.soft_labels(torch.zeros(3, 2), teacher, 2.0)) == pytest.approx(expected, abs=1e-6)


def test_soft_labels_of_equals_are_zero() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    assert float(loss.soft_labels(logits, logits.clone(), 3.0)) == pytest.approx(0, abs=1e-6)


def test_hidden_cosine_by_hand_ignores_padding() -> None:
    student = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [5.0, 5.0]]])
    teacher = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-5.0, -5.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert float(loss.hidden_cosine(student, teacher, mask)) == pytest.approx(0.5, abs=1e-6)  # (1 + 0) / 2


def test_hidden_cosine_of_a_batch_is_the_mean_of_its_parts() -> None:
    student, teacher = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    mask = (torch.arange(5) < torch.tensor([[5], [1], [3], [2]])).long()
    parts = [loss.hidden_cosine(student[i : i + 2], teacher[i : i + 2], mask[i : i + 2]) for i in (0, 2)]
    assert float(loss.hidden_cosine(student, teacher, mask)) == pytest.approx(float(sum(parts)) / 2, abs=1e-6)


def test_masked_tokens_counts_only_targets() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 1] = 100.0
    assert float(loss.masked_tokens(logits, torch.tensor([[1, 2, -100]]))) == pytest.approx(math.log(4) / 2, abs=1e-5)
    assert float(loss.masked_tokens(logits, torch.full((1, 3), -100))) == 0


def test_labels_by_hand() -> None:
    assert float(loss.labels(torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([0]))) == pytest.approx(
        math.log(4 / 3), abs=1e-6
    )


def test_mask_tokens_hides_a_share_of_real_tokens_only() -> None:
    ids = torch.arange(10, 60).repeat(40, 1)
    ids[:, 0] = 2
    mask = torch.ones_like(ids)
    mask[:, 40:] = 0
    torch.manual_seed(1)
    hidden, targets = loss.mask_tokens(ids, mask, 4, torch.tensor([2, 3]), share=0.5)
    changed = hidden != ids
    assert changed[:, 1:40].float().mean() == pytest.approx(0.5, abs=0.05)
    assert not changed[:, 0].any()
    assert not changed[:, 40:].any()
    assert (hidden[changed] == 4).all()
    assert (targets[changed] == ids[changed]).all()
    assert (targets[~changed] == -100).all()
