"""Tests of training/baseline.py."""

import pytest

from training import baseline
from training.data import Dataset, Split

TRAIN = Split("train", ("good film", "fine film", "bad film", "poor film"), (1, 1, 0, 0))


def test_it_learns_words_and_is_judged_on_the_test_split() -> None:
    test = Split("test", ("fine meal", "poor meal", "bad", "good", "bad"), (1, 0, 0, 1, 1))
    found = baseline.accuracy(Dataset(("no", "yes"), TRAIN, Split("validation", (), ()), test), seed=1)
    assert found == pytest.approx(0.8)
