"""Tests of training/teacher.py."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training import base, loop, teacher
from training.config import Fit, Teacher
from training.encoding import Encoded
from training.errors import ModelError
from training.loop import Stage
from training.machine import Machine

DATA = Encoded(tuple((2, 5 + i % 2, 7, 3) for i in range(32)), tuple(i % 2 for i in range(32)), pad_id=0)


def test_a_teacher_learns_and_comes_back_from_its_folder(tiny_base: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = Teacher(fit=Fit(6, 3e-3, batch_size=8))
    model = teacher.fine_tune(config, tiny_base, ("a", "b"), DATA, Machine(), Stage("teacher", 1))
    answers = loop.predict(model, DATA, Machine(), title="p")
    assert answers.argmax(-1).tolist() == list(DATA.labels)

    tokenizer = base.load_tokenizer(tiny_base)
    for _ in range(2):  # an older teacher is replaced
        teacher.save(model, tokenizer, tmp_path / "runs" / "teacher")
    again = teacher.load(tmp_path / "runs" / "teacher", ("a", "b"))
    assert torch.equal(loop.predict(again, DATA, Machine(), title="p"), answers)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["teacher"]


@pytest.mark.parametrize("labels", [("a", "c"), ("b", "a"), ("a", "b", "c")])
def test_other_labels_are_refused(tiny_base: Path, tmp_path: Path, labels: tuple[str, ...]) -> None:
    model: Any = base.load_classifier(tiny_base, ("a", "b"))
    teacher.save(model, base.load_tokenizer(tiny_base), tmp_path / "teacher")
    with pytest.raises(ModelError, match="was trained for 2 labels"):
        teacher.load(tmp_path / "teacher", labels)
