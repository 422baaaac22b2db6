"""Tests of training/model_sanity.py: a sound model, and broken ones."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.training import lesson
from training import model_sanity, teacher
from training.encoding import Batch, Encoded
from training.finding import Level
from training.machine import Machine


def test_a_sound_model_passes() -> None:
    model = lesson.model()
    shapes = model_sanity.shapes(model, lesson.DATA, 2, 32, Machine())
    gradients = model_sanity.gradients(model, lesson.DATA, teacher.cross_entropy, Machine())
    overfit = model_sanity.overfit(model, lesson.DATA, teacher.cross_entropy, 1e-2, Machine())
    assert (shapes.level, gradients.level, overfit.level) == (Level.FINE,) * 3
    assert "3 x [2, 16, 16]" in shapes.found
    assert "all 5 layers" in gradients.found


def test_a_frozen_and_a_dead_layer_are_named() -> None:
    model: Any = lesson.model()
    model.bert.encoder.layer[1].requires_grad_(False)
    found = model_sanity.gradients(model, lesson.DATA, teacher.cross_entropy, Machine())
    assert found.level is Level.FAILURE
    assert found.found == "no gradient reaches bert.encoder.layer.1"

    def detached(model: Any, batch: Batch) -> Tensor:
        hidden = model.bert(input_ids=batch.ids, attention_mask=batch.mask).pooler_output
        return nn.functional.cross_entropy(model.classifier(hidden.detach()), batch.labels)

    found = model_sanity.gradients(lesson.model(), lesson.DATA, detached, Machine())
    assert found.level is Level.FAILURE
    assert "bert.encoder.layer.0" in found.found


def test_a_loss_that_ignores_the_model_cannot_be_overfitted() -> None:
    def noise(model: Any, batch: Batch) -> Tensor:
        logits: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).logits
        return nn.functional.cross_entropy(logits * 0, batch.labels)

    found = model_sanity.overfit(lesson.model(), lesson.DATA, noise, 1e-2, Machine())
    assert found.level is Level.FAILURE
    assert "fell to 0.693 in 100 steps" in found.found
    assert "--find-rate" in found.change


def test_more_tokens_than_positions_and_other_logits_are_refused() -> None:
    found = model_sanity.shapes(lesson.model(), lesson.DATA, 2, 64, Machine())
    assert found.level is Level.FAILURE
    assert "lower max_length to 32" in found.change
    assert model_sanity.shapes(lesson.model(), lesson.DATA, 3, 32, Machine()).level is Level.FAILURE
    broken: Any = lesson.model()
    with torch.no_grad():
        broken.classifier.bias.fill_(torch.nan)
    assert model_sanity.shapes(broken, lesson.DATA, 2, 32, Machine()).level is Level.FAILURE


def test_measuring_leaves_the_weights_and_takes_the_longest_texts() -> None:
    model = lesson.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = replace(lesson.DATA, ids=(*lesson.DATA.ids[:-1], (2, *([7] * 20), 3)))
    found = model_sanity.measure(model, data, teacher.cross_entropy, lesson.FIT, Machine())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (found.shape, found.largest) == ((8, 16), (8, 32))
    assert found.seconds > 0
    assert found.peak_bytes is None or found.peak_bytes > 0


def test_the_size_of_a_model() -> None:
    size = model_sanity.size_of(lesson.model())
    model = lesson.model()
    assert size.parameters == sum(value.numel() for value in model.parameters())
    embeddings = sum(value.numel() for value in model.get_submodule("bert.embeddings").parameters())
    assert (size.weights, size.layers, size.width) == (size.parameters - embeddings, 2, 16)


def test_the_rows_differ_and_cover_the_labels() -> None:
    data = Encoded(((2, 5, 3),) * 50 + tuple((2, 6 + i, 3) for i in range(12)), (0,) * 50 + (0, 1, 2) * 4, pad_id=0)
    rows = model_sanity.distinct_rows(data)
    assert len(rows) == len({data.ids[row] for row in rows}) == 8
    assert {data.labels[row] for row in rows} == {0, 1, 2}
    assert model_sanity.distinct_rows(Encoded(((1,), (1,)), (0, 1), 0)) == [0]


def test_free_memory_is_told_in_bytes() -> None:
    free = model_sanity.free_bytes(Machine())
    assert free is None or free > 10**7
