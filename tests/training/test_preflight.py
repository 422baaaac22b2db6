"""Tests of training/preflight.py and the report that it leaves."""

from dataclasses import replace
from pathlib import Path

import pytest

from training import job, model_sanity, preflight
from training.config import Config, Data, Fit, Preflight, Student, Teacher
from training.cost import Size
from training.errors import ConfigError, PreflightError
from training.finding import Level
from training.machine import Machine
from training.material import gather
from training.model_sanity import Measured
from training.preflight_report import Needs


@pytest.fixture
def config(tiny_base: Path, review_file: Path, tmp_path: Path) -> Config:
    """A run over reviews that repeat each other."""
    fit = Fit(epochs=1, learning_rate=3e-3)
    return Config(
        "reviews",
        Data(str(review_file)),
        max_length=16,
        precision="fp32",
        runs=str(tmp_path / "runs"),
        preflight=Preflight(max_leaked=1.0),
        teacher=Teacher(str(tiny_base), fit=fit),
        student=Student(fit=fit),
    )


def test_the_report_has_samples_findings_labels_and_prices(config: Config) -> None:
    path = job.check(config)
    page = path.read_text()
    assert path == config.run_folder / "preflight.md"
    for part in ("Nothing stops the run.", "| label balance | fine |", "overfitting one batch", "[CLS]", "| V100 |"):
        assert part in page
    assert page.count("| negative |") >= 2  # in the samples and in the table of labels
    assert "leakage into test | warning" in page


def test_a_failure_stops_the_run_says_what_to_change_and_leaves_the_report(config: Config, tmp_path: Path) -> None:
    strict = replace(config, preflight=Preflight(max_leaked=0.05))
    with pytest.raises(PreflightError, match=r"leakage into test: 29 of 36 .* preflight\.max_leaked"):
        job.run(strict, tmp_path / "repository")
    assert "checks failed: the run stops here" in (config.run_folder / "preflight.md").read_text()
    assert not (tmp_path / "repository").exists()
    assert not (config.run_folder / "checkpoints").exists()


def test_a_model_that_cannot_learn_stops_the_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_sanity, "OVERFIT_STEPS", 0)
    with pytest.raises(PreflightError, match="overfitting one batch"):
        job.check(config)


def test_more_positions_than_the_base_has_are_refused(config: Config) -> None:
    with pytest.raises(PreflightError, match="lower max_length to 64"):
        job.check(replace(config, max_length=65))


def test_a_configuration_that_trains_nothing_is_judged_by_its_data(config: Config, tiny_base: Path) -> None:
    idle = replace(config, teacher=Teacher(path=str(tiny_base)), student=Student("same"))
    found = preflight.look(idle, gather(idle), Machine())
    assert found.needs is None
    assert "Memory, time" not in job.check(idle).read_text()


def test_layers_that_the_teacher_lacks_are_refused_before_training(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"student\.layers is 9"):
        job.check(replace(config, student=Student(9)))


@pytest.mark.parametrize(("peak", "level"), [(10**6, Level.FINE), (10**18, Level.FAILURE)])
def test_memory_is_judged_by_the_larger_of_formula_and_measurement(peak: int, level: Level) -> None:
    measured = Measured(0.1, (8, 16), peak, (8, 32))
    found = preflight.memory(Needs(Size(1, 1, 1, 1), measured, 10**6, 1.0, ()), Machine())
    assert found.level is level
    assert (level is Level.FINE) or "accumulate" in found.change
