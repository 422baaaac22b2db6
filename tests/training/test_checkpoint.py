"""Tests of training/checkpoint.py."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training import checkpoint
from training.checkpoint import Checkpoints


def saved(folder: Path, *steps: int) -> Checkpoints:
    """Checkpoints of these steps."""
    found = Checkpoints(folder, "mine")
    for step in steps:
        found.save(step, {"step": step, "model": {"w": torch.full((50,), float(step))}})
    return found


def names(folder: Path) -> list[int]:
    """The steps that are kept."""
    return sorted(int(path.name[:8]) for path in folder.glob("*.pt"))


def test_the_last_three_are_kept_and_the_newest_is_returned(tmp_path: Path) -> None:
    found = saved(tmp_path, 0, 10, 20, 30)
    assert names(tmp_path) == [10, 20, 30]
    state = found.latest()
    assert state is not None
    assert state["step"] == 30
    assert torch.equal(state["model"]["w"], torch.full((50,), 30.0))


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    found = saved(tmp_path, 10, 20)
    (path,) = tmp_path.glob("00000020-*.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"torn": bytes(content[: len(content) // 2]), "flipped": bytes(content), "empty": b""}[damage])
    state = found.latest()
    assert state is not None
    assert state["step"] == 10


def test_half_a_file_of_a_killed_save_is_no_checkpoint(tmp_path: Path) -> None:
    found = saved(tmp_path, 10)
    (tmp_path / ".new").write_bytes(b"half")
    state = found.latest()
    assert state is not None
    assert state["step"] == 10
    found.save(20, {"step": 20})
    assert names(tmp_path) == [10, 20]


def test_the_same_step_again_replaces_the_first(tmp_path: Path) -> None:
    found = saved(tmp_path, 10)
    found.save(10, {"step": 10, "rescues": 1})
    assert names(tmp_path) == [10]
    state = found.latest()
    assert state is not None
    assert state["rescues"] == 1


def test_another_trainings_checkpoints_are_not_taken(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    assert Checkpoints(tmp_path, "other").latest() is None
    assert Checkpoints(tmp_path / "absent", "mine").latest() is None


def test_a_stage_that_is_over_leaves_one(tmp_path: Path) -> None:
    found = saved(tmp_path, 10, 20, 30)
    found.keep_only(31, {"step": 31})
    assert names(tmp_path) == [31]
    found.clear()
    assert not tmp_path.exists()


def test_the_fingerprint_follows_weights_and_facts() -> None:
    model = nn.Linear(3, 2)
    one = checkpoint.fingerprint(model, "facts", 1)
    assert checkpoint.fingerprint(model, "facts", 1) == one != checkpoint.fingerprint(model, "facts", 2)
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert checkpoint.fingerprint(model, "facts", 1) != one
