"""`retort adopt` fills a repository and leaves one that has models alone."""

from pathlib import Path

import pytest

from retort_cli.__main__ import main
from tests.tiny_model import publish_tiny


def adopt(*arguments: object) -> str | int | None:
    with pytest.raises(SystemExit) as ended:
        main(["adopt", *map(str, arguments)])
    return ended.value.code


def test_an_empty_repository_is_filled_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    published = publish_tiny(source)
    target.mkdir()
    for _ in range(2):
        assert adopt(source, "--repository", target, "--if-empty") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"tiny: copied ({published.digest})"
    assert second == f"{target} holds tiny already"
    assert adopt(source, "--repository", target) == 0
    assert capsys.readouterr().out == "tiny: is there already\n"


def test_another_model_counts_only_with_if_empty(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    publish_tiny(source)
    publish_tiny(target).path.parent.rename(target / "other")
    assert adopt(source, "--repository", target, "--if-empty") == 0
    assert not (target / "tiny").exists()
    assert adopt(source, "--repository", target) == 0
    assert (target / "tiny").exists()


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (
        adopt(tmp_path / "empty", "--repository", tmp_path / "empty") == f"retort: {tmp_path / 'empty'} holds no model"
    )
    assert "absent" in str(adopt(tmp_path / "absent", "--repository", tmp_path / "empty"))
