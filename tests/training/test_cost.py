"""Tests of training/cost.py: by hand, and against the figures everyone knows."""

import pytest

from training import cost
from training.config import Fit
from training.cost import Hardware, Size

BERT_BASE = Size(parameters=110_000_000, weights=85_000_000, layers=12, width=768)


def test_memory_by_the_formula() -> None:
    assert cost.training_bytes(Size(100, 50, 2, 8), rows=4, length=16) == 100 * 16 + 4 * 16 * 8 * 2 * 40
    assert cost.training_bytes(BERT_BASE, 32, 512) == pytest.approx(7.8e9, rel=0.02)  # "about 8 GB"


def test_the_v100_is_anchored_on_125_bert_base_examples_a_second() -> None:
    v100 = next(hardware for hardware in cost.load_profiles() if hardware.name == "V100")
    per_second = v100.sustained_teraflops * 1e12 / cost.step_flops(BERT_BASE, 1, 128)
    assert 100 <= per_second <= 150


def test_a_bill_by_hand() -> None:
    found = cost.bill(Hardware("x", 2.0, 16, price=3.0, spot_price=1.0), flops=2e12 * 7200, memory_bytes=17 * 10**9)
    assert (found.hours, found.dollars, found.spot_dollars, found.fits) == (2.0, 6.0, 2.0, False)


def test_flops_count_padding_epochs_and_a_live_teacher() -> None:
    size, fit = Size(0, 1000, 2, 8), Fit(epochs=3, learning_rate=1.0, batch_size=4)
    lengths = [3] * 8  # padded to 16, two steps
    step = 3 * 4 * 16 * (2 * 1000 + 4 * 2 * 16 * 8)
    assert cost.fine_tuning_flops(size, lengths, fit, 1) == 3 * 2 * step
    once = cost.distillation_flops(size, size, lengths, fit, 1, live=False)
    live = cost.distillation_flops(size, size, lengths, fit, 1, live=True)
    assert once == pytest.approx(3 * 2 * step + 2 * step / 3)
    assert live == pytest.approx(3 * (2 * step + 2 * step / 3))


def test_half_the_layers_have_half_the_weights_and_all_embeddings() -> None:
    half = BERT_BASE.with_layers(6)
    assert (half.parameters, half.weights, half.layers) == (67_500_000, 42_500_000, 6)


def test_the_profiles_have_prices_and_spot_is_cheaper() -> None:
    profiles = cost.load_profiles()
    assert len({hardware.name for hardware in profiles}) == len(profiles) >= 4
    assert all(0 < hardware.spot_price < hardware.price for hardware in profiles)
