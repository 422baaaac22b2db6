"""Tests of training/ladder.py: tables."""

import pytest
import torch

from training.errors import MemoryShortageError
from training.ladder import Rung, is_out_of_memory


def test_the_way_down() -> None:
    rungs = [Rung(32)]
    while rungs[-1] != Rung(1, checkpointed=True):
        rungs.append(rungs[-1].lower())
    with pytest.raises(MemoryShortageError, match="max_length"):
        rungs[-1].lower()
    assert rungs == [
        *(Rung(rows) for rows in (32, 16, 8, 4)),
        *(Rung(rows, checkpointed=True) for rows in (4, 2, 1)),
    ]


@pytest.mark.parametrize(("rows", "parts"), [(8, 1), (5, 2), (3, 3), (1, 8)])
def test_a_step_keeps_its_rows_however_it_is_divided(rows: int, parts: int) -> None:
    found = Rung(rows).divide(list(range(8)))
    assert len(found) == parts
    assert [row for part in found for row in part] == list(range(8))
    assert max(map(len, found)) <= rows


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_is_a_lack_of_memory(error: RuntimeError, *, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
