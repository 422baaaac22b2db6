"""Tests of training/machine.py; two processes are in test_loop.py."""

import pytest
import torch

from training import machine
from training.machine import Machine


def test_alone_sums_are_what_they_were() -> None:
    alone = Machine()
    assert alone.leads
    assert float(alone.add_up(torch.tensor(3.0))) == 3
    assert (alone.any(True), alone.any(False)) == (True, False)
    assert not Machine(rank=1, size=2).leads


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_format_is_what_matrix_products_are_computed_in(precision: str, expected: torch.dtype) -> None:
    with machine.join(precision) as here, here.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
        assert not here.scaler().is_enabled()


def test_fp16_gradients_are_scaled_and_auto_is_a_known_format() -> None:
    assert Machine(format=torch.float16).scaler().is_enabled()
    with machine.join("auto") as here:
        assert here.format in machine.FORMATS.values()


def test_the_seed_follows_its_parts() -> None:
    def drawn(*parts: object) -> float:
        machine.seed_everything(*parts)
        return float(torch.rand(()))

    assert drawn(7, "student", 3) == drawn(7, "student", 3)
    assert len({drawn(7, "student", 3), drawn(7, "student", 4), drawn(8, "student", 3), drawn(7, "teacher", 3)}) == 4
