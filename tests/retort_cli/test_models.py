"""`retort models` lists and verifies."""

from pathlib import Path

import pytest

from retort_cli.__main__ import main
from tests.tiny_model import publish_tiny


def models(repository: Path) -> str | int | None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "--repository", str(repository)])
    return ended.value.code


def test_versions_are_listed_with_their_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = publish_tiny(tmp_path), publish_tiny(tmp_path, swapped=True)
    assert models(tmp_path) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        ["tiny", "1", "stable", "classification", first.digest],
        ["tiny", "2", "verified", "classification", second.digest],
    ]


def test_a_version_that_does_not_verify_is_said_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_tiny(tmp_path)
    with (publish_tiny(tmp_path).path / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    assert models(tmp_path) == 1
    assert "rejected" in (out := capsys.readouterr().out)
    assert "model.onnx has" in out


def test_an_empty_or_absent_repository_is_one_sentence(tmp_path: Path) -> None:
    assert "holds no model" in str(models(tmp_path))
    assert "cannot list the model repository" in str(models(tmp_path / "absent"))
