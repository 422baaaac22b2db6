"""Tests of training/config.py."""

from pathlib import Path
from typing import Any

import pytest

from training import config
from training.errors import ConfigError

CONFIGS = Path(config.__file__).with_name("configs")
MINIMAL = {"model": "m", "data": {"source": "demo"}}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert config.load(path).model


def test_a_partial_table_keeps_the_defaults_of_its_own_place() -> None:
    found = config.parse(MINIMAL | {"student": {"fit": {"epochs": 9}}, "teacher": {"fit": {"batch_size": 8}}})
    assert found.student.fit == config.Fit(epochs=9, learning_rate=config.Student().fit.learning_rate)
    assert found.teacher.fit == config.Fit(
        epochs=config.Teacher().fit.epochs, learning_rate=config.Teacher().fit.learning_rate, batch_size=8
    )


def test_layers_may_be_a_number_or_a_word_and_columns_a_name_or_a_number() -> None:
    found = config.parse({"model": "m", "data": {"source": "x", "text": 0, "label": "kind"}, "student": {"layers": 3}})
    assert (found.student.layers, found.data.text, found.data.label) == (3, 0, "kind")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (MINIMAL | {"sead": 1}, "unknown key 'sead': did you mean 'seed'?"),
        (MINIMAL | {"student": {"fit": {"epoch": 1}}}, "unknown key student.fit.'epoch': did you mean 'epochs'?"),
        (MINIMAL | {"seed": "seven"}, "seed must be a whole number, not 'seven'"),
        (MINIMAL | {"seed": True}, "seed must be a whole number, not True"),
        (MINIMAL | {"gate": 3}, "gate must be a table, not 3"),
        (MINIMAL | {"gate": {"max_drop": "1"}}, "gate.max_drop must be a number, not '1'"),
        (MINIMAL | {"int8": {"candidates": "fp32"}}, "int8.candidates must be a list, each item a text"),
        (MINIMAL | {"data": {"source": "x", "label": 1.5}}, "data.label must be a text or a whole number, not 1.5"),
        ({"data": {"source": "demo"}}, "key model is missing"),
        ({"model": "m", "data": {}}, "key data.source is missing"),
    ],
)
def test_what_is_unknown_missing_or_mistyped_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(table)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "Not Good"}, "model 'Not Good'"),
        ({"max_length": 2}, "max_length"),
        ({"precision": "fp8"}, "precision"),
        ({"student": {"layers": "most"}}, "student.layers"),
        ({"student": {"layers": 0}}, "student.layers"),
        ({"int8": {"candidates": ["static-qdx"]}}, "did you mean 'static-qdq'?"),
        ({"int8": {"candidates": []}}, "int8.candidates"),
        ({"teacher": {"fit": {"epochs": 0}}}, "teacher.fit: epochs"),
        ({"student": {"fit": {"accumulate": 0}}}, "student.fit: epochs"),
        ({"student": {"fit": {"patience": -1}}}, "student.fit: epochs"),
        ({"checkpoint_s": -1}, "checkpoint_s"),
        ({"loss": {"alpha": 0, "eta": 0}}, "loss.alpha or loss.eta"),
        ({"serving": {"max_tokens": 10}}, "serving.max_tokens"),
    ],
)
def test_values_that_no_run_could_use_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check(config.parse(MINIMAL | change))
    assert message in str(caught.value)


def test_a_file_that_is_absent_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        config.load(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("model = ")
    with pytest.raises(ConfigError, match=r"broken.toml is not valid TOML"):
        config.load(broken)


def test_variables_are_expanded_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/there")
    assert config.expand("${DATA_DIR}/x", "data.source") == "/there/x"
    monkeypatch.delenv("DATA_DIR")
    with pytest.raises(ConfigError, match=r"data\.source uses .*DATA_DIR"):
        config.expand("${DATA_DIR}/x", "data.source")
