"""Tests of training/job.py: one small run from the file to the published version."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from training import gate, job, journal
from training.config import Config, Gate, parse
from training.errors import ConfigError, DataError, GateError, ModelError
from training.publish import Published


def config(review_file: Path, tiny_base: Path, runs: Path, **changes: object) -> Config:
    """A run of seconds."""
    return parse(
        {
            "model": "reviews",
            "max_length": 16,
            "preflight": {"max_leaked": 1.0},  # a handful of words makes every sentence there is
            "precision": "fp32",
            "runs": str(runs),
            "data": {"source": str(review_file)},
            "teacher": {"base": str(tiny_base), "fit": {"epochs": 12, "learning_rate": 3e-3}},
            "student": {"fit": {"epochs": 12, "learning_rate": 3e-3}},
            "int8": {"candidates": ["static-qdq", "dynamic-int8"], "calibration_rows": 16},
            "gate": {"max_drop": 0.2},
            "serving": {"max_batch_size": 8, "max_tokens": 128},
        }
        | changes
    )


def run(wanted: Config, repository: Path) -> Published:
    """Run the job in one process."""
    published = job.run(wanted, repository)
    assert published is not None
    return published


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, Published]:
    """A repository with one version that a whole run published."""
    folder = tmp_path_factory.mktemp("trained")
    review_file = folder / "reviews.tsv"
    good, bad = ("good", "great", "fine", "lovely"), ("bad", "awful", "dull", "poor")
    rows = [f"the {('film', 'meal')[i % 3 % 2]} was {(bad, good)[i % 2][i // 2 % 4]}\t{i % 2}" for i in range(240)]
    review_file.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    data = {"source": str(review_file), "names": {"0": "negative", "1": "positive"}}
    wanted = config(review_file, tiny_base, folder / "runs", data=data)
    return folder, run(wanted, folder / "repository")


def test_the_published_model_answers_and_its_manifest_says_how_well(trained: tuple[Path, Published]) -> None:
    _, published = trained
    assert published.stable
    manifest = json.loads((published.path / "manifest.json").read_text())
    assert manifest["labels"] == ["negative", "positive"]
    assert manifest["artefact"] in ("static-qdq", "dynamic-int8")
    quality = manifest["quality"]
    assert min(quality["teacher"], quality["student_fp32"], quality["published"], quality["baseline_tfidf"]) > 0.9
    assert quality["rows"] == 36

    tokenizer = Tokenizer.from_file(str(published.path / "tokenizer.json"))
    session = onnxruntime.InferenceSession(published.path / "model.onnx", providers=["CPUExecutionProvider"])
    for text, label in (("The film was lovely", "positive"), ("the meal was awful", "negative")):
        ids = np.array([tokenizer.encode(text).ids])
        (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        assert logits.shape == (1, 2)
        assert manifest["labels"][int(logits.argmax())] == label


def test_the_manifest_is_complete(trained: tuple[Path, Published], tiny_base: Path) -> None:
    _, published = trained
    manifest = json.loads((published.path / "manifest.json").read_text())
    assert {c["artefact"] for c in manifest["candidates"]} == {"fp32", "static-qdq", "dynamic-int8"}
    assert next(c for c in manifest["candidates"] if c["artefact"] == manifest["artefact"])["admitted"]
    assert set(manifest["latency"]["published_ms"]) == set(manifest["latency"]["teacher_ms"]) == {"8", "16"}
    sizes = manifest["size_bytes"]
    assert sizes["published"] == (published.path / "model.onnx").stat().st_size
    assert sizes["published"] < sizes["student_fp32"] < sizes["teacher_fp32"]
    assert sum(manifest["baseline"]["confidence_histogram"]) == manifest["baseline"]["rows"] == 36
    assert sum(manifest["baseline"]["label_distribution"].values()) == pytest.approx(1)
    assert manifest["tokenizer"] == {
        "max_length": 16,
        "vocab_size": 29,
        "pad_id": 0,
        "lowercase": True,
        "normalizer": ["BertNormalizer"],
    }
    assert manifest["training"]["config"]["student"]["layers"] == "half"
    assert manifest["training"]["seconds"] > 0
    assert len(manifest["training"]["data_sha256"]) == 64
    assert manifest["parent"] == tiny_base.name
    embedder, replay = manifest["embedder"], manifest["replay"]
    assert (embedder["width"], embedder["kind"], embedder["dtype"]) == (256, "token-sum", "int8")
    assert (
        manifest["files"][embedder["file"]]["bytes"] == (published.path / embedder["file"]).stat().st_size == 29 * 256
    )
    assert (replay["rows"], replay["split"]) == (36, "test")
    assert 0 < replay["share"] <= 1
    assert replay["wrong"] <= 0.01


def test_a_run_leaves_its_reports_and_no_checkpoints(trained: tuple[Path, Published]) -> None:
    folder = trained[0] / "runs" / "reviews"
    assert {path.name for path in folder.iterdir()} == {
        "artefacts",
        "curves.png",
        "log.jsonl",
        "preflight.md",
        "report.md",
        "student",
        "teacher",
    }
    assert "![learning curves](curves.png)" in (folder / "report.md").read_text()
    entries = journal.read(folder / "log.jsonl")
    assert {entry["stage"] for entry in entries} == {"teacher", "student"}
    accuracies = journal.curve(entries, "student", "validation", "accuracy")
    assert len(accuracies) == 12
    assert accuracies[max(accuracies)] > 0.9


def test_the_gate_judges_on_the_validation_split_and_figures_are_of_the_test_split(
    trained: tuple[Path, Published], tiny_base: Path, tmp_path: Path
) -> None:
    folder, published = trained
    manifest = json.loads((published.path / "manifest.json").read_text())
    assert manifest["quality"]["split"] == "test"
    # The same teacher, a validation split whose labels are all wrong: the gate, not the figures, must see it.
    rows = (folder / "reviews.tsv").read_text().splitlines()[1:]
    split = tmp_path / "split"
    split.mkdir()
    for name, part in (("train", rows[:160]), ("test", rows[160:])):
        (split / f"{name}.tsv").write_text("text\tlabel\n" + "\n".join(part) + "\n")
    flipped = [f"{row[:-1]}{1 - int(row[-1])}" for row in rows[:40]]
    (split / "dev.tsv").write_text("text\tlabel\n" + "\n".join(flipped) + "\n")
    wanted = config(
        folder / "reviews.tsv",
        tiny_base,
        tmp_path / "runs",
        data={"source": str(split), "validation": "dev", "names": {"0": "negative", "1": "positive"}},
        teacher={"path": str(folder / "runs" / "reviews" / "teacher")},
        student={"layers": "same"},
        gate={"allow_batch_variance": True, "max_drop": 0.2},
    )
    seen: list[float] = []
    original = gate.verdicts

    def noted(entries: Sequence[gate.Entry], fp32: float, rules: Gate) -> dict[str, gate.Verdict]:
        seen.extend([fp32, *(entry.metric for entry in entries)])
        return original(entries, fp32, rules)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "verdicts", noted)
        manifest = json.loads((run(wanted, tmp_path / "repository").path / "manifest.json").read_text())
    assert max(seen) < 0.1
    assert manifest["quality"]["published"] > 0.9


def test_a_saved_teacher_is_distilled_again_to_the_same_student(
    trained: tuple[Path, Published], tiny_base: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    teacher = {"path": str(folder / "runs" / "reviews" / "teacher")}
    digests = set()
    for name in ("one", "two"):
        wanted = config(
            folder / "reviews.tsv",
            tiny_base,
            tmp_path / name,
            teacher=teacher,
            data={"source": str(folder / "reviews.tsv"), "names": {"0": "negative", "1": "positive"}},
        )
        published = run(wanted, tmp_path / "repository")
        files = json.loads((published.path / "manifest.json").read_text())["files"]
        weights = (tmp_path / name / "reviews" / "student" / "model.safetensors").read_bytes()
        artefacts = tmp_path / name / "reviews" / "artefacts"
        digests.add(
            (
                files["tokenizer.json"]["sha256"],
                weights,
                *(path.read_bytes() for path in sorted(artefacts.glob("*.onnx"))),
            )
        )
    assert len(digests) == 1
    assert sorted(path.name for path in (tmp_path / "repository" / "reviews").iterdir()) == [
        "1",
        "2",
        "config.pbtxt",
        "stable.json",
    ]
    assert json.loads((tmp_path / "repository" / "reviews" / "stable.json").read_text())["version"] == 1


def test_the_teacher_itself_can_be_published_without_distillation(
    trained: tuple[Path, Published], tiny_base: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    wanted = config(
        folder / "reviews.tsv",
        tiny_base,
        tmp_path / "runs",
        data={"source": str(folder / "reviews.tsv"), "names": {"0": "negative", "1": "positive"}},
        teacher={"path": str(folder / "runs" / "reviews" / "teacher")},
        student={"layers": "same"},
        gate={"allow_batch_variance": True, "max_drop": 0.2},
        int8={"candidates": ["dynamic-int8"]},
    )
    manifest = json.loads((run(wanted, tmp_path / "repository").path / "manifest.json").read_text())
    assert manifest["artefact"] == "dynamic-int8"
    assert manifest["quality"]["teacher"] == manifest["quality"]["student_fp32"]
    assert not (tmp_path / "runs" / "reviews" / "student").exists()


def test_a_refused_run_publishes_nothing(trained: tuple[Path, Published], tiny_base: Path, tmp_path: Path) -> None:
    folder, _ = trained
    wanted = config(
        folder / "reviews.tsv",
        tiny_base,
        tmp_path / "runs",
        data={"source": str(folder / "reviews.tsv"), "names": {"0": "negative", "1": "positive"}},
        teacher={"path": str(folder / "runs" / "reviews" / "teacher")},
        student={"layers": "same"},
        gate={"max_drop": 0.0},
    )
    with pytest.raises(GateError, match="nothing is published"):
        job.run(wanted, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_bad_data_stops_the_run_before_anything_is_written(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        job.run(config(tmp_path / "absent.tsv", tiny_base, tmp_path / "runs"), tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_for_other_labels_is_refused(
    trained: tuple[Path, Published], review_file: Path, tiny_base: Path, tmp_path: Path
) -> None:
    teacher = {"path": str(trained[0] / "runs" / "reviews" / "teacher")}
    review_file.write_text(review_file.read_text().replace("positive", "praise"))
    with pytest.raises(ModelError, match=r"differ in .*praise"):
        job.run(config(review_file, tiny_base, tmp_path / "runs", teacher=teacher), tmp_path / "repository")


def test_more_layers_than_the_teacher_has_are_refused(review_file: Path, tiny_base: Path, tmp_path: Path) -> None:
    wanted = config(
        review_file,
        tiny_base,
        tmp_path / "runs",
        student={"layers": 9},
        teacher={"base": str(tiny_base), "fit": {"epochs": 1, "learning_rate": 1e-3}},
    )
    with pytest.raises(ConfigError, match=r"student\.layers is 9, but the teacher has 4"):
        job.run(wanted, tmp_path / "repository")
