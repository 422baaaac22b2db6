"""Tests of training/vitals.py."""

import pytest
import torch
from torch import nn

from tests.training import lesson
from training import vitals
from training.vitals import WINDOW, Vitals


def after(*losses: float, norm: float = 0.5) -> Vitals:
    """The vitals after these losses, each for a whole window."""
    found = Vitals()
    for loss in losses:
        for _ in range(WINDOW):
            found.observe(loss, norm)
    return found


@pytest.mark.parametrize(
    ("losses", "diverged", "calm"),
    [
        ((2.5,), False, True),
        ((2.5, 0.5), False, True),
        ((2.5, 0.1, 0.3), False, True),  # noise among small losses
        ((2.5, 0.1, 0.8), False, False),  # not worth coming back to
        ((2.5, 0.1, 1.5), True, False),
        ((2.5, 2.4, 2.6), False, True),  # learns nothing, but does not diverge
        ((2.5, 6.0), True, False),
    ],
)
def test_divergence(losses: tuple[float, ...], *, diverged: bool, calm: bool) -> None:
    found = after(*losses)
    assert (found.diverged, found.calm) == (diverged, calm)


@pytest.mark.parametrize(
    ("usual", "norm", "spike"), [(0.5, 6.0, True), (0.5, 2.0, False), (0.01, 0.5, False), (4.0, 6.0, False)]
)
def test_a_spike_is_loud_and_far_above_the_last_steps(usual: float, norm: float, *, spike: bool) -> None:
    assert after(1.0, norm=usual).observe(1.0, norm) is spike
    assert Vitals().observe(1.0, norm) is False  # nothing to compare with


def test_the_state_brings_everything_back() -> None:
    found = after(2.5, 0.1)
    found.observe(0.2, 0.3)
    assert Vitals.from_state(found.state()) == found


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("bert.encoder.layer.3.attention.self.query.weight", "bert.encoder.layer.3"),
        ("distilbert.transformer.layer.0.ffn.lin1.bias", "distilbert.transformer.layer.0"),
        ("bert.embeddings.word_embeddings.weight", "bert.embeddings"),
        ("classifier.weight", "classifier"),
        ("weight", "weight"),
    ],
)
def test_layers_by_name(parameter: str, layer: str) -> None:
    assert vitals.layer_of(parameter) == layer


def test_gradients_and_updates_by_layer() -> None:
    model = lesson.model()
    layers = {vitals.layer_of(name) for name, _ in model.named_parameters()}
    assert vitals.gradient_norms(model) == dict.fromkeys(vitals.gradient_norms(model), 0.0)
    before = vitals.weights_of(model)
    classifier = model.get_submodule("classifier")
    assert isinstance(classifier, nn.Linear)
    classifier.weight.grad = torch.full_like(classifier.weight, 3.0)
    with torch.no_grad():
        for value in classifier.parameters():
            value.mul_(1.1)
    norms, updates = vitals.gradient_norms(model), vitals.update_ratios(before, model)
    assert norms.keys() == updates.keys() == layers
    assert norms["classifier"] == pytest.approx(3.0 * classifier.weight.numel() ** 0.5)
    assert updates["classifier"] == pytest.approx(0.1, rel=1e-3)
    assert updates["bert.encoder.layer.0"] == 0.0
