"""Texts: all different, from a file or built in."""

from pathlib import Path

import pytest

from retort_cli.bench.texts import SENTENCES, body, numbered, read
from retort_cli.errors import CommandError


def test_numbered_texts_are_all_different() -> None:
    assert numbered(["a", "b"], 3, 4) == ["b 3", "a 4", "b 5", "a 6"]
    assert len(set(numbered(SENTENCES, 0, 500))) == 500


def test_texts_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("one\n\n  two \n")
    assert read(tmp_path / "texts") == ["one", "two"]
    assert read(None) == list(SENTENCES)


@pytest.mark.parametrize("content", [None, b" \n\n", b"\xff\xfe\n"])
def test_a_file_without_texts_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "texts").write_bytes(content)
    with pytest.raises(CommandError, match="--texts"):
        read(tmp_path / "texts")


def test_a_body_is_what_predict_reads() -> None:
    assert body('say "hi"') == b'{"text": "say \\"hi\\""}'
