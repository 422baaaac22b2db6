"""Tests of retort_cli/train.py: the door to training, which is not entered."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from retort_cli import train
from retort_cli.errors import CommandError
from training import job
from training.errors import PreflightError
from training.rate_finder import Sweep

CONFIG = 'model = "m"\n[data]\nsource = "demo"\n'


def parsed(tmp_path: Path, *options: str) -> Namespace:
    """The arguments for a small configuration."""
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    parser = ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args([*options, str(path)])


def test_check_tells_where_the_report_is_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "run", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(job, "check", lambda _: Path("runs/m/preflight.md"))
    assert train.run(parsed(tmp_path, "--check")) == 0
    assert capsys.readouterr().out == "nothing stops this run: runs/m/preflight.md\n"


def test_a_failed_check_is_the_commands_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(_: Any) -> Path:
        raise PreflightError("leakage into test: remove them")

    monkeypatch.setattr(job, "check", failed)
    with pytest.raises(CommandError, match="leakage into test"):
        train.run(parsed(tmp_path, "--check"))


def test_find_rate_prints_the_sweep_and_the_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "find_rate", lambda _: (Sweep((1e-5, 1e-4), (2.0, 1.0)), Path("plot.png")))
    assert train.run(parsed(tmp_path, "--find-rate")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["1.00e-05", "2.0000"]
    assert lines[-1] == "try learning_rate = 1.0e-05 (plot: plot.png)"


def test_a_process_that_does_not_publish_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "run", lambda *_: None)
    assert train.run(parsed(tmp_path)) == 0
    assert capsys.readouterr().out == ""


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        parsed(tmp_path, "--check", "--find-rate")
