"""Tests of training/report.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordLevel

from training import report
from training.config import Config, Data
from training.data import Dataset, Split
from training.evaluate import Result
from training.gate import Verdict
from training.manifest import Description

LOGITS = np.array([[9.0, -9.0], [0.0, 0.0], [-9.0, 9.0], [9.0, -9.0]], dtype=np.float32)
SPLIT = Split("test", ("a", "b", "c", "d"), (0, 0, 1, 1))


def result(name: str, accuracy: float, size: int, milliseconds: float) -> Result:
    """A result with the logits above."""
    return Result(name, Path(name), accuracy, 0.0, size, LOGITS, {"8": milliseconds, "16": 2 * milliseconds})


@pytest.fixture
def facts() -> report.Facts:
    """A finished run of two labels."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    return report.Facts(
        config=Config("m", Data("demo")),
        dataset=Dataset(("no", "yes"), SPLIT, SPLIT, SPLIT),
        tokenizer=tokenizer,
        vocab_size=100,
        pad_id=3,
        typical="16",
        results={
            "teacher": result("teacher", 0.9, 4_000_000, 4.0),
            "fp32": result("fp32", 0.8, 2_000_000, 2.0),
            "static-qdq": result("static-qdq", 0.75, 500_000, 1.0),
        },
        tfidf=0.5,
        seconds=12.34,
    )


def described(facts: report.Facts) -> Description:
    """The description with the static artefact admitted."""
    return report.description(facts, "static-qdq", {"static-qdq": Verdict("static-qdq", admitted=True, reason="good")})


def test_quality_sizes_and_latency_come_from_the_right_results(facts: report.Facts) -> None:
    found = described(facts)
    quality = found.quality
    assert (quality.teacher, quality.student_fp32, quality.published, quality.baseline_tfidf) == (0.9, 0.8, 0.75, 0.5)
    sizes = found.size_bytes
    assert (sizes.teacher_fp32, sizes.student_fp32, sizes.published) == (4_000_000, 2_000_000, 500_000)
    assert (found.latency.published_ms["8"], found.latency.teacher_ms["8"]) == (1.0, 4.0)
    assert [(c.artefact, c.admitted, c.reason) for c in found.candidates] == [
        ("fp32", False, "the reference, not a candidate"),
        ("static-qdq", True, "on the validation split: good"),
    ]


def test_the_baseline_for_drift_counts_labels_and_confidences(facts: report.Facts) -> None:
    found = described(facts).baseline
    assert found.label_distribution == {"no": 0.75, "yes": 0.25}  # a tie goes to the first label
    assert (found.rows, len(found.confidence_histogram)) == (4, 20)
    assert (found.confidence_histogram[10], found.confidence_histogram[19]) == (1, 3)


def test_the_tokenizer_is_told_as_readers_need_it(facts: report.Facts) -> None:
    found = described(facts).tokenizer
    assert (found.max_length, found.vocab_size, found.pad_id, found.lowercase) == (64, 100, 3, True)
    assert found.normalizer == ("NFC", "Lowercase")
    cased = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    found = described(replace(facts, tokenizer=cased)).tokenizer
    assert (found.lowercase, found.normalizer) == (False, ())


def test_provenance_changes_with_the_configuration(facts: report.Facts) -> None:
    one = described(facts).training
    other = described(replace(facts, config=replace(facts.config, seed=8))).training
    assert one.config_sha256 != other.config_sha256
    assert (one.data_sha256, one.seed, one.seconds) == (facts.dataset.sha256, 7, 12.3)
    assert one.versions["onnxruntime"]


def test_the_summary_shows_the_baseline_and_every_artefact(facts: report.Facts) -> None:
    lines = report.summary(facts).splitlines()
    assert "50.00 %" in next(line for line in lines if "tf-idf" in line)
    static = next(line for line in lines if "static-qdq" in line)
    assert "75.00 %" in static
    assert "0.5 MB" in static
    assert "4.0x" in static


def test_warmup_reaches_the_longest_text_and_no_further(facts: report.Facts) -> None:
    assert "128" not in report.triton_config(facts)
    assert '"1 x 64"' in report.triton_config(facts)
    assert '"1 x 24"' in report.triton_config(replace(facts, config=replace(facts.config, max_length=24)))
