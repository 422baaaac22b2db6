"""Tests of training/loop.py."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training import lesson
from training import journal, loop, teacher
from training.checkpoint import Checkpoints
from training.config import Fit
from training.encoding import Batch
from training.errors import DivergenceError, MemoryShortageError
from training.loop import Stage
from training.machine import Machine

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'services'}", "OMP_NUM_THREADS": "1"}


def losses(folder: Path, kind: str = "step") -> dict[int, float]:
    """The loss curve of a lesson."""
    return journal.curve(journal.read(folder / "log.jsonl"), "lesson", kind, "loss")


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The journal's lines of one kind."""
    return [entry for entry in journal.read(folder / "log.jsonl") if entry["kind"] == kind]


def test_fit_learns_and_predict_answers_in_the_order_of_the_data(tmp_path: Path) -> None:
    model = lesson.train(tmp_path)
    assert not model.training
    found = loop.predict(model, lesson.DATA, Machine(), batch_size=10).argmax(-1)
    assert found.tolist() == list(lesson.DATA.labels)
    curve = losses(tmp_path)
    assert list(curve) == list(range(60))
    assert curve[0] > 0.6 > 0.1 > curve[59]
    assert list(losses(tmp_path, "validation")) == [12, 24, 36, 48, 60]
    assert [entry["step"] for entry in events(tmp_path, "layers")] == [0, 20, 40]
    assert all(0 < ratio < 1 for ratio in events(tmp_path, "layers")[1]["updates"].values())


def test_the_same_seed_gives_the_same_weights_another_seed_others() -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        stage = Stage("lesson", seed)
        return loop.fit(
            lesson.model(), lesson.DATA, teacher.cross_entropy, replace(lesson.FIT, epochs=1), Machine(), stage
        ).state_dict()

    one, two, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    decayed, free = loop.decayed(lesson.model(), 0.5)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert all(value.ndim > 1 for value in decayed["params"])  # type: ignore[attr-defined]
    assert all(value.ndim <= 1 for value in free["params"])  # type: ignore[attr-defined]


def test_a_run_killed_at_random_moments_gives_the_same_curve_and_weights(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.training.killed_training",
        str(tmp_path),
        os.environ.get("KILLS", "4"),
        "11",
    ]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert losses(tmp_path / "killed", "validation") == losses(tmp_path / "whole", "validation")
    assert len(events(tmp_path / "killed", "resumed")) >= 4
    whole, killed = (state(tmp_path / name) for name in ("whole", "killed"))
    assert all(torch.equal(whole["model"][name], killed["model"][name]) for name in whole["model"])


def state(folder: Path) -> dict[str, Any]:
    """The last checkpoint, whatever it belongs to."""
    (path,) = (folder / "checkpoints").glob("*.pt")
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    lesson.train(tmp_path / "one", dropout=0.0)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.shared_training", str(tmp_path / "two")]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two)
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_computes_the_same_step_in_parts(tmp_path: Path, accumulate: int) -> None:
    lesson.train(tmp_path / "whole", dropout=0.0)
    lesson.train(tmp_path / "parts", dropout=0.0, fit=replace(lesson.FIT, accumulate=accumulate))
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert list(parts.values()) == pytest.approx(list(whole.values()), rel=1e-3, abs=1e-4)


class Scarce:
    """A loss that runs out of memory as long as more than `rows` rows are computed, or nothing is checkpointed."""

    def __init__(self, rows: int, *, needs_checkpointing: bool = False) -> None:
        self.rows = rows
        self.needs_checkpointing = needs_checkpointing
        self.seen: set[int] = set()

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        self.seen.add(len(batch.ids))
        if len(batch.ids) > self.rows or (self.needs_checkpointing and not model.is_activation_checkpointing):
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return teacher.cross_entropy(model, batch)


def scarce(folder: Path, loss_of: Scarce) -> None:
    """The lesson with little memory."""
    stage = Stage("lesson", 5, lesson.DATA, folder / "checkpoints", journal.Journal(folder / "log.jsonl"))
    loop.fit(lesson.model(0.0), lesson.DATA, loss_of, lesson.FIT, Machine(), stage)


@pytest.mark.parametrize(
    ("loss_of", "rungs"),
    [
        (Scarce(4), ["4 rows at once"]),
        (
            Scarce(2, needs_checkpointing=True),
            [
                "4 rows at once",
                "4 rows at once, activations are computed again",
                "2 rows at once, activations are computed again",
            ],
        ),
    ],
    ids=["halved", "checkpointed"],
)
def test_without_memory_it_climbs_down_and_computes_the_same(tmp_path: Path, loss_of: Scarce, rungs: list[str]) -> None:
    lesson.train(tmp_path / "plenty", dropout=0.0)
    scarce(tmp_path / "scarce", loss_of)
    found = [entry["what"].removeprefix("from here on ") for entry in events(tmp_path / "scarce", "out-of-memory")]
    assert found == rungs
    expected = list(losses(tmp_path / "plenty").values())
    assert list(losses(tmp_path / "scarce").values()) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_when_a_single_row_is_too_much_it_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(MemoryShortageError, match="max_length"):
        scarce(tmp_path, Scarce(0))


def test_other_runtime_errors_are_no_lack_of_memory() -> None:
    def broken(_model: nn.Module, _batch: Batch) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        loop.fit(lesson.model(), lesson.DATA, broken, lesson.FIT, Machine(), Stage("lesson", 1))


class Poisoned:
    """A loss that is NaN at its `at`-th call, `times` times."""

    def __init__(self, at: int, times: int) -> None:
        self.calls, self.at, self.times = 0, at, times

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        self.calls += 1
        poison = self.at <= self.calls < self.at + self.times
        return teacher.cross_entropy(model, batch) * (math.nan if poison else 1.0)


def poisoned(folder: Path, loss_of: Poisoned) -> None:
    """The lesson with a checkpoint every step."""
    stage = Stage("lesson", 5, lesson.DATA, folder / "checkpoints", journal.Journal(folder / "log.jsonl"), 0.0)
    loop.fit(lesson.model(), lesson.DATA, loss_of, lesson.FIT, Machine(), stage)


@pytest.mark.parametrize("times", [1, 2])
def test_a_nan_goes_back_to_a_checkpoint_with_a_tenth_of_the_rate(tmp_path: Path, times: int) -> None:
    lesson.train(tmp_path / "calm")
    poisoned(tmp_path / "sick", Poisoned(31, times))
    entries = {entry["step"]: entry for entry in events(tmp_path / "sick", "step")}
    calm = {entry["step"]: entry for entry in events(tmp_path / "calm", "step")}
    assert len(events(tmp_path / "sick", "rescue")) == times
    assert list(entries) == list(range(60))
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "sick").values())
    assert entries[29]["rate"] == pytest.approx(calm[29]["rate"])
    assert entries[30]["rate"] == pytest.approx(calm[30]["rate"] * 0.1**times)
    assert entries[30]["loss"] == calm[30]["loss"]  # the same rows from the same weights


def test_after_two_rescues_it_ends_with_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"lesson\.fit\.learning_rate \(0\.01\)"):
        poisoned(tmp_path, Poisoned(31, 99))
    assert len(events(tmp_path, "rescue")) == 2


def test_a_leap_of_the_loss_is_noticed_without_any_nan(tmp_path: Path) -> None:
    def turning(model: nn.Module, batch: Batch) -> Tensor:
        calls.append(1)
        labels = batch.labels if len(calls) <= 40 else 1 - batch.labels
        return teacher.cross_entropy(model, replace(batch, labels=labels))

    calls: list[int] = []
    stage = Stage("lesson", 5, None, tmp_path / "checkpoints", journal.Journal(tmp_path / "log.jsonl"), 0.0)
    with pytest.raises(DivergenceError):
        loop.fit(lesson.model(), lesson.DATA, turning, lesson.FIT, Machine(), stage)
    found = events(tmp_path, "rescue")
    assert len(found) == 2
    # Back to before the leap, although it takes some steps to tell a leap from a bad batch.
    assert all(int(entry["step"]) <= 40 < int(entry["what"].split("step ")[1].split(":")[0]) for entry in found)


def test_patience_ends_early_with_the_best_weights(tmp_path: Path) -> None:
    fit = Fit(epochs=20, learning_rate=1e-2, batch_size=8, validate_steps=3, patience=4)
    model = lesson.train(tmp_path, fit=fit)
    measured = events(tmp_path, "validation")
    assert measured[-1]["step"] < 240
    assert len(events(tmp_path, "stopped-early")) == 1
    best = max(measured, key=lambda entry: (entry["accuracy"], -entry["loss"]))
    assert measured[-1]["step"] - best["step"] == 12
    logits = loop.predict(model, lesson.DATA, Machine())
    found = float(nn.functional.cross_entropy(logits, torch.tensor(lesson.DATA.labels)))
    assert found == pytest.approx(best["loss"], rel=1e-4)


def test_a_finished_stage_is_not_trained_again_and_a_changed_one_is(tmp_path: Path) -> None:
    first = lesson.train(tmp_path).state_dict()
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 1
    written = (tmp_path / "log.jsonl").read_text().count('"kind": "step"')
    again = lesson.train(tmp_path).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (tmp_path / "log.jsonl").read_text().count('"kind": "step"') == written == 60
    lesson.train(tmp_path, fit=replace(lesson.FIT, epochs=1))
    assert list(losses(tmp_path)) == list(range(12))  # from the start, and the old curve is gone


def test_three_checkpoints_are_kept_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[int]] = []

    def counted(self: Checkpoints, step: int, content: dict[str, Any]) -> Path:
        path = original(self, step, content)
        kept.append(sorted(int(path.name[:8]) for path in self.folder.glob("*.pt")))
        return path

    original = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", counted)
    lesson.train(tmp_path, fit=replace(lesson.FIT, epochs=1), checkpoint_s=0.0)
    assert kept[0] == [0]
    assert kept[10] == [8, 9, 10]


@pytest.mark.parametrize("number_format", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_it_learns_in_half_precision(tmp_path: Path, number_format: torch.dtype) -> None:
    model = lesson.train(tmp_path, machine=Machine(format=number_format))
    found = loop.predict(model, lesson.DATA, Machine()).argmax(-1)
    assert found.tolist() == list(lesson.DATA.labels)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["stage"] == "lesson"
