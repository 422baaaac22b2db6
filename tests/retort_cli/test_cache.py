"""`retort cache evaluate`, with a real published model."""

from pathlib import Path

import pytest

from retort_cli.__main__ import main
from tests.tiny_model import publish_tiny

TEXTS = ["the film is good", "a movie is great", "the movie is bad", "the film is awful"] * 10


def evaluate(repository: Path, data: Path) -> None:
    main(["cache", "evaluate", "--data", str(data), "--model", "tiny", "--repository", str(repository)])


@pytest.mark.parametrize("form", ["{}", '{{"text": "{}", "when": 1}}'])
def test_it_says_what_neighbours_would_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    publish_tiny(tmp_path / "repository", embedder=True)
    data = tmp_path / "texts"
    data.write_text("\n".join(form.format(text) for text in TEXTS) + "\n")
    with pytest.raises(SystemExit) as ended:
        evaluate(tmp_path / "repository", data)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "40 texts, 90.0% exact repeats" in shown
    level = next(line for line in shown.splitlines() if line.startswith("at most 1.0% wrong"))
    answered = float(level.split(": ")[1].split("%")[0])
    assert 80 <= answered <= 97.5  # all but the first of each kind; "the movie is bad" has neighbours that are wrong
    assert "published with 1.7" in shown
    bars = [line.count("#") for line in shown.splitlines() if "#" in line]
    assert bars == sorted(bars)


def test_a_version_without_a_table_cannot_be_evaluated(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "repository")
    (tmp_path / "texts").write_text("good\n")
    with pytest.raises(SystemExit, match="published without an embedding table"):
        evaluate(tmp_path / "repository", tmp_path / "texts")


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("good\n")
    (tmp_path / "repository").mkdir()
    with pytest.raises(SystemExit, match="no stable version of tiny"):
        evaluate(tmp_path / "repository", tmp_path / "texts")


@pytest.mark.parametrize("content", ["", '{"words": "good"}\n', '{"text": \n'])
def test_a_file_without_texts_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "texts").write_text(content)
    with pytest.raises(SystemExit, match="text"):
        evaluate(tmp_path, tmp_path / "texts")
