"""The model under test: chosen, copied alone, and once more as FP32 in a form that the gateway verifies."""

import json
import shutil
from pathlib import Path

import pytest

from gateway.serving.repository import Repository
from retort_cli.bench.errors import SkippedError
from retort_cli.bench.model import PREFERRED, find, find_fp32, lay_out
from retort_cli.errors import CommandError
from tests.tiny_model import publish_tiny


def test_a_repository_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no model repository"):
        find(tmp_path / "none", None)
    with pytest.raises(CommandError, match="holds no model that can be served; `retort train CONFIG`"):
        find(tmp_path, None)


def test_the_preferred_model_else_the_first_is_chosen(tmp_path: Path) -> None:
    publish_tiny(tmp_path, "zebra")
    publish_tiny(tmp_path, "newt")
    assert find(tmp_path, None).name == "newt"
    assert find(tmp_path, "zebra").name == "zebra"
    publish_tiny(tmp_path, PREFERRED)
    assert find(tmp_path, None).name == PREFERRED
    with pytest.raises(CommandError, match="no model 'cow' that can be served: it holds minilm6-int8, newt, zebra"):
        find(tmp_path, "cow")


def test_texts_are_tokenised_as_published(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    short, long = find(tmp_path, None).tokenise(["a good film", "film " * 100])
    assert len(short) == 5
    assert len(long) == 32


def test_a_copy_and_its_fp32_twin_both_verify(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", "newt")
    publish_tiny(tmp_path / "repo", "other")
    model = find(tmp_path / "repo", "newt")
    fp32 = tmp_path / "fp32.onnx"
    fp32.write_bytes(model.network.read_bytes() + b"\0")
    assert lay_out(model, tmp_path / "copy", fp32) == "newt-fp32"
    stored = Repository(str(tmp_path / "copy")).scan({})
    assert {name: (entry.stable, entry.problem) for name, entry in stored.items()} == {
        "newt": (1, None),
        "newt-fp32": (1, None),
    }
    assert stored["newt"].versions[1].manifest.digest == model.manifest.digest
    assert (tmp_path / "copy" / "newt-fp32" / "1" / "model.onnx").read_bytes() == fp32.read_bytes()


def test_a_published_fp32_file_is_its_own_twin(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", "newt")
    model = find(tmp_path / "repo", None)
    assert find_fp32(model, None, tmp_path) == model.network
    assert lay_out(model, tmp_path / "copy", model.network) == "newt"
    assert lay_out(model, tmp_path / "alone", None) is None
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["newt"]


def test_training_leaves_the_fp32_file(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repo", "newt")
    model = find(tmp_path / "repo", None)
    manifest = json.loads((model.version_folder / "manifest.json").read_bytes())
    int8 = type(model)(model.folder, model.manifest, "static-qdq", manifest["size_bytes"]["student_fp32"])
    runs = tmp_path / "runs"
    with pytest.raises(SkippedError, match=r"fp32\.onnx, which training leaves, is not there; --fp32 FILE"):
        find_fp32(int8, None, runs)
    left = runs / "newt" / "artefacts" / "fp32.onnx"
    left.parent.mkdir(parents=True)
    shutil.copyfile(model.network, left)
    assert find_fp32(int8, None, runs) == left
    left.write_bytes(b"another training's")
    with pytest.raises(SkippedError, match="is not the file that newt 1 was made from"):
        find_fp32(int8, None, runs)
    assert find_fp32(int8, left, runs) == left
    with pytest.raises(CommandError, match="--fp32"):
        find_fp32(int8, tmp_path / "none", runs)
