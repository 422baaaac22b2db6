"""Tests of training/journal.py."""

import json
import math
from pathlib import Path

from training import journal
from training.journal import Journal


def test_lines_are_json_and_nan_is_none(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "log.jsonl"
    Journal(path).write("step", "teacher", step=1, loss=math.nan)
    Journal(path).write("step", "teacher", step=2, loss=0.5)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["loss"], second["loss"], second["kind"], second["stage"]) == (None, 0.5, "step", "teacher")
    curve = journal.curve(journal.read(path), "teacher", "step", "loss")
    assert math.isnan(curve[1])
    assert curve[2] == 0.5


def test_a_line_torn_by_a_kill_is_passed_over_and_ended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    Journal(path).write("step", "teacher", step=1, loss=1.0)
    with path.open("a") as stream:
        stream.write('{"kind": "step", "sta')
    Journal(path).write("step", "teacher", step=2, loss=2.0)
    assert journal.curve(journal.read(path), "teacher", "step", "loss") == {1: 1.0, 2: 2.0}


def test_a_step_computed_again_counts_once_and_events_all(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Journal(path)
    for loss in (1.0, 9.0):
        log.write("step", "teacher", step=1, loss=loss)
        log.write("rescue", "teacher", step=1, what="x")
    entries = journal.read(path)
    assert journal.curve(entries, "teacher", "step", "loss") == {1: 9.0}
    assert sum(entry["kind"] == "rescue" for entry in entries) == 2


def test_a_stage_that_starts_anew_is_forgotten_the_others_stay(tmp_path: Path) -> None:
    log = Journal(tmp_path / "log.jsonl")
    log.write("step", "teacher", step=1, loss=1.0)
    log.write("step", "student", step=1, loss=2.0)
    log.forget("student")
    assert [entry["stage"] for entry in journal.read(tmp_path / "log.jsonl")] == ["teacher"]
    Journal().forget("teacher")
    Journal().write("step", "teacher", step=1)


def test_nobody_reads_nothing_is_written(tmp_path: Path) -> None:
    Journal(tmp_path / "absent.jsonl").forget("teacher")
    assert list(tmp_path.iterdir()) == []
