"""Tests of training/data_sanity.py: one fault at a time."""

from dataclasses import replace
from pathlib import Path

import pytest

from training import base, data_sanity, encoding
from training.config import Preflight
from training.data import Dataset, Split
from training.finding import Finding, Level

GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "dull", "poor")
FILLER = ("the", "a", "film", "meal", "is", "was", "and", "very", "it", "tastes", "looks", "sweet")


def split(name: str, tail: str) -> Split:
    """48 different texts, half of each label."""
    texts = tuple(f"{filler} {words[i]} {tail}" for words in (GOOD, BAD) for i in range(2) for filler in FILLER)
    return Split(name, texts, (1,) * 24 + (0,) * 24)


CLEAN = Dataset(("no", "yes"), split("train", "film"), split("validation", "meal"), split("test", "looks"))


def judged(dataset: Dataset, tiny_base: Path, max_length: int = 8) -> dict[str, Finding]:
    """All findings by subject."""
    tokenizer = base.load_tokenizer(tiny_base)
    serving = encoding.serving_tokenizer(tokenizer)
    profile = data_sanity.profile(dataset, serving, tokenizer.unk_token_id, max_length)
    return {finding.subject: finding for finding in data_sanity.findings(profile, dataset, Preflight(), max_length)}


def with_train(*more: tuple[str, int]) -> Dataset:
    """The clean data with further training texts."""
    train = CLEAN.train
    texts, labels = tuple(text for text, _ in more), tuple(label for _, label in more)
    return replace(CLEAN, train=Split("train", train.texts + texts, train.labels + labels))


def test_clean_data_is_fine(tiny_base: Path) -> None:
    found = judged(CLEAN, tiny_base)
    assert {finding.level for finding in found.values()} == {Level.FINE}, found
    assert not any(finding.change for finding in found.values())


@pytest.mark.parametrize(
    ("dataset", "subject", "level", "says"),
    [
        (with_train(("The  GOOD film!", 1)), "duplicates", Level.WARNING, "1 of 49"),
        (with_train(("The  GOOD film!", 0)), "conflicting labels", Level.FAILURE, "2 of 49"),
        (with_train(("the good meal.", 1)), "leakage into validation", Level.WARNING, "1 of 48"),
        (with_train(*((text, 1) for text in CLEAN.test.texts[:4])), "leakage into test", Level.FAILURE, "4 of 48"),
        (with_train(*((f"film {'very ' * (7 + i)}", 1) for i in range(40))), "length", Level.FAILURE, "longest 49"),
        (with_train(("the caf\u00c3\u00a9 film", 1)), "encoding", Level.WARNING, "1 texts"),
        (with_train(("the caf\ufffd film", 1), ("film \x00 is", 1)), "encoding", Level.FAILURE, "2 texts"),
        (with_train(*((f"ist das wahr {i}", 1) for i in range(20))), "vocabulary", Level.WARNING, "% of the tokens"),
        (with_train(*((f"film {i}", 1) for i in range(250))), "label balance", Level.WARNING, "24 (no) to 274 (yes)"),
        (
            replace(CLEAN, labels=("no", "yes", "maybe"), train=with_train(("it is", 2)).train),
            "label balance",
            Level.WARNING,
            "from 1 (maybe)",
        ),
        (replace(CLEAN, test=Split("test", ("it is",), (1,))), "label set", Level.WARNING, "1 of 2"),
    ],
)
def test_a_fault_is_found(dataset: Dataset, subject: str, level: Level, says: str, tiny_base: Path) -> None:
    finding = judged(dataset, tiny_base)[subject]
    assert finding.level is level
    assert says in finding.found
    assert finding.change


def test_the_share_cut_off_is_told_for_each_length_and_how_long_is_enough(tiny_base: Path) -> None:
    long = with_train(*((f"film {'very ' * 30}{'and ' * i}", 1) for i in range(60)))
    tokenizer = base.load_tokenizer(tiny_base)
    profile = data_sanity.profile(long, encoding.serving_tokenizer(tokenizer), tokenizer.unk_token_id, 40)
    assert profile.truncated[512] == 0 < profile.truncated[64] < profile.truncated[40] < profile.truncated[16]
    assert profile.longest.count("and") == 59
    assert "raise max_length to 96" in judged(long, tiny_base)["length"].change
