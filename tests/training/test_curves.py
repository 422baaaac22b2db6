"""Tests of training/curves.py."""

from pathlib import Path

from matplotlib.image import imread

from training import curves
from training.journal import Journal


def test_a_journal_becomes_one_row_of_plots_for_each_stage(tmp_path: Path) -> None:
    log = Journal(tmp_path / "log.jsonl")
    heights = []
    for stage in ("teacher", "student"):
        for step in range(5):
            log.write("step", stage, step=step, loss=1 / (step + 1), rate=1e-4, norm=0.5)
        log.write("layers", stage, step=0, gradients={"a": 1.0}, updates={"a": 1e-3})
        log.write("validation", stage, step=5, loss=0.5, accuracy=0.9)
        log.write("spike", stage, step=3, what="x")
        heights.append(imread(curves.draw(tmp_path / "log.jsonl", tmp_path / "curves.png")).shape[0])
    assert heights[1] == 2 * heights[0] > 0


def test_a_sweep_is_drawn(tmp_path: Path) -> None:
    drawn = curves.draw_sweep([1e-5, 1e-4, 1e-3], [2.0, 1.0, 3.0], 1e-4, tmp_path / "sweep.png")
    assert imread(drawn).shape[0] > 100
