"""Tests of training/material.py."""

from pathlib import Path

import pytest

from training.config import Config, Data, Teacher
from training.errors import DataError
from training.material import gather


def test_every_split_is_encoded_and_cut(tiny_base: Path, review_file: Path) -> None:
    found = gather(Config("m", Data(str(review_file)), max_length=8, teacher=Teacher(str(tiny_base))))
    assert [len(part) for part in (found.train, found.validation, found.test)] == [168, 36, 36]
    assert found.validation.labels == found.dataset.validation.labels
    assert max(found.train.lengths) <= 8
    assert found.base == tiny_base


def test_without_anything_to_choose_on_it_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood,1\nbad,0\n")
    (tmp_path / "test.csv").write_text("text,label\nfine,1\n")
    with pytest.raises(DataError, match=r"data\.validation"):
        gather(Config("m", Data(str(tmp_path)), teacher=Teacher(str(tiny_base))))
