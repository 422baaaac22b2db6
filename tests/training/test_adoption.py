"""Tests of training/adoption.py: a copy that is whole, verified, and never in anybody's way."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.serving.repository import Repository
from tests.tiny_model import publish_tiny
from training.adoption import adopt, models
from training.errors import PublishError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    publish_tiny(tmp_path / "source")
    return tmp_path / "source" / "tiny"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_a_copy_is_the_model_with_its_identity(source: Path, target: Path) -> None:
    (target / ".publish-killed").mkdir()
    identity = adopt(source, target)
    (read,) = Repository(str(target)).scan({}).values()
    assert read.problem is None
    assert not read.rejected
    assert read.versions[1].manifest.digest == identity
    assert [path.name for path in target.iterdir()] == ["tiny"]
    assert (target / "tiny").stat().st_mode & 0o777 == 0o755


def test_a_model_that_is_there_stays_as_it_is(source: Path, target: Path) -> None:
    other = publish_tiny(target, swapped=True)
    assert adopt(source, target) is None
    assert Repository(str(target)).scan({})["tiny"].versions[1].manifest.digest == other.digest


@pytest.mark.parametrize(
    ("file", "content"),
    [("1/model.onnx", b"x"), ("stable.json", b'{"version": 2}'), ("stable.json", b"{}"), ("1/manifest.json", b"{")],
)
def test_what_does_not_verify_is_refused_and_leaves_nothing(
    source: Path, target: Path, file: str, content: bytes
) -> None:
    (source / file).write_bytes(content)
    with pytest.raises(PublishError, match="tiny"):
        adopt(source, target)
    assert not list(target.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="cannot copy tiny into"):
        adopt(source, tmp_path / "absent")


def test_unfinished_models_are_not_listed_and_an_absent_repository_is_named(source: Path, tmp_path: Path) -> None:
    for name in (".publish-1", "lost+found", "half"):
        (source.parent / name).mkdir()
    assert models(source.parent) == [source]
    with pytest.raises(PublishError, match="absent"):
        models(tmp_path / "absent")


def test_it_needs_the_standard_library_alone(source: Path, target: Path) -> None:
    command = ["-m", "retort_cli", "adopt", str(source.parent), "--repository", str(target)]
    done = subprocess.run(
        [sys.executable, "-S", *command],  # -S: no site-packages, like the demo image
        env={"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "tiny" / "1" / "model.onnx").is_file()
