"""The repository: what verifies, what is rejected and why, what is stable, what is the candidate."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_server.repository import Model, scan
from tests.tiny_model import publish_tiny


def look(root: Path, target: str = "cpu") -> Model:
    return scan(root, target, {})["tiny"]


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_published_version_verifies_and_is_stable(tmp_path: Path) -> None:
    published = publish_tiny(tmp_path)
    model = look(tmp_path)
    assert model.stable is not None
    assert (model.stable.version, model.stable.digest, model.candidate, model.problem) == (
        1,
        published.digest,
        None,
        None,
    )
    assert 'backend: "onnxruntime"' in model.config


def test_the_candidate_is_the_newest_that_verifies(tmp_path: Path) -> None:
    for _ in range(3):
        publish_tiny(tmp_path)
    assert (model := look(tmp_path)).candidate == model.versions[3]
    (tmp_path / "tiny" / "3" / "model.onnx").write_bytes(b"x")
    assert (model := look(tmp_path)).candidate == model.versions[2]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json cannot be read"),
        (lambda f: edit_manifest(f, lambda m: m.pop("files")), "manifest.json cannot be read: KeyError('files')"),
        (lambda f: edit_manifest(f, lambda m: m.update(schema_version=9)), "schema_version 9 is unknown"),
        (lambda f: edit_manifest(f, lambda m: m.update(version=7)), "says tiny/7 but lies in tiny/2"),
        (lambda f: edit_manifest(f, lambda m: m.update(model="other")), "says other/2 but lies in tiny/2"),
        (lambda f: (f / "model.onnx").unlink(), "model.onnx is missing"),
        (lambda f: (f / "extra.bin").write_bytes(b"x"), "extra.bin is not listed"),
        (lambda f: (f / "model.onnx").write_bytes(b"x"), "model.onnx has 1 bytes, manifest.json says"),
        (lambda f: _flip_a_byte(f / "model.onnx"), "model.onnx has SHA-256"),
    ],
)
def test_a_version_that_breaks_a_rule_is_rejected_by_name(
    tmp_path: Path, harm: Callable[[Path], object], reason: str
) -> None:
    publish_tiny(tmp_path)
    publish_tiny(tmp_path)
    harm(tmp_path / "tiny" / "2")
    model = scan(tmp_path, "cpu", {})["tiny"]
    assert list(model.rejected) == [2]
    assert reason in model.rejected[2]
    assert model.stable is not None
    assert model.candidate is None


def test_a_version_for_another_target_is_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    model = look(tmp_path, target="gpu")
    assert model.stable is None
    assert "for target cpu and this server's is gpu" in model.rejected[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "stable.json is missing"),
        ("{", "stable.json is not"),
        ('{"version": 1}', "stable.json is not"),
        ('{"version": "1", "digest": ""}', "stable.json is not"),
        ('{"version": Infinity, "digest": ""}', "stable.json is not"),
        ("[" * 100_000, "stable.json is not"),
        ('{"version": 9, "digest": ""}', "names version 9, which does not exist"),
        ('{"version": 1, "digest": "sha256:0"}', "digest is not the digest of version 1"),
    ],
)
def test_a_stable_that_breaks_a_rule_is_a_problem(tmp_path: Path, content: str | None, problem: str) -> None:
    publish_tiny(tmp_path)
    path = tmp_path / "tiny" / "stable.json"
    path.unlink() if content is None else path.write_text(content)
    model = look(tmp_path)
    assert model.stable is None
    assert problem in str(model.problem)


def test_a_config_edited_since_publishing_is_reported_and_not_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    assert look(tmp_path).config_changed_since == []
    with (tmp_path / "tiny" / "config.pbtxt").open("a") as config:
        config.write("# edited\n")
    model = look(tmp_path)
    assert model.config_changed_since == [1]
    assert model.stable is not None


def test_a_config_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    (tmp_path / "tiny" / "config.pbtxt").write_bytes(b"\xff\xfe")
    assert look(tmp_path).problem == "config.pbtxt is not UTF-8"


def test_leftovers_of_a_killed_publish_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    (tmp_path / ".publish-x" / "1").mkdir(parents=True)
    (tmp_path / "tiny" / ".publish-x").mkdir()
    (tmp_path / "tiny" / "01").mkdir()
    (tmp_path / "README.md").write_text("")
    assert list(scan(tmp_path, "cpu", {})) == ["tiny"]
    assert list(look(tmp_path).versions) == [1]


def test_an_unchanged_version_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    folder = publish_tiny(tmp_path).path
    first = scan(tmp_path, "cpu", {})
    assert scan(tmp_path, "cpu", first)["tiny"].versions[1] is first["tiny"].versions[1]
    _flip_a_byte(folder / "model.onnx")
    os.utime(folder / "model.onnx", ns=(1, 1))
    assert 1 in scan(tmp_path, "cpu", first)["tiny"].rejected


def test_a_repository_that_does_not_exist_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "absent", "cpu", {})


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
