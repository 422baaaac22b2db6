"""The corpus: what a line stands for, lengths, and that texts do not come twice."""

import random
from itertools import islice
from pathlib import Path

import pytest

from loadtests.corpus import Corpus, Lengths
from loadtests.options import CORPUS


def corpus(folder: Path, content: str, lengths: Lengths | None = None) -> Corpus:
    """A corpus of this content."""
    path = folder / "corpus.txt"
    path.write_text(content)
    return Corpus.read(path, lengths)


def draw() -> random.Random:
    return random.Random(5)


def test_plain_lines_come_as_they_are_in_random_order_and_once(tmp_path: Path) -> None:
    lines = [f"a [text] with <tags> and a | of {number}" for number in range(50)]
    texts = list(corpus(tmp_path, "# a comment\n\n" + "\n".join(lines)).texts(draw()))
    assert sorted(texts) == sorted(lines)
    assert texts != lines


def test_choices_and_names_stand_for_every_text_that_they_make(tmp_path: Path) -> None:
    content = "<thing> = a [big|small] cup|<other>\n<other> = the mug\n[Where is|I lost] <thing>!"
    texts = set(corpus(tmp_path, content).texts(draw()))
    made = {f"{ask} {what}!" for ask in ("Where is", "I lost") for what in ("a big cup", "a small cup", "the mug")}
    assert texts == made


def test_a_value_that_names_itself_ends(tmp_path: Path) -> None:
    assert list(corpus(tmp_path, "<a> = <a>\n<a> again").texts(draw())) == ["<a> again"]


def test_lengths_are_kept_by_joining_and_cutting(tmp_path: Path) -> None:
    lines = "\n".join(f"one two three {number}" for number in range(20))
    texts = list(islice(corpus(tmp_path, lines, Lengths(2, 9)).texts(draw()), 300))
    assert {len(text.split()) for text in texts} == set(range(2, 10))
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("written", "lengths"), [("7", Lengths(7, 7)), ("5-40", Lengths(5, 40))])
def test_lengths_are_read(written: str, lengths: Lengths) -> None:
    assert Lengths.parse(written) == lengths


@pytest.mark.parametrize("written", ["0", "9-3", "-4", "a few", "5-"])
def test_lengths_that_cannot_be_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="--words must"):
        Lengths.parse(written)


def test_an_empty_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no text"):
        corpus(tmp_path, "# nothing\n<a> = b\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="binary cannot be read"):
        Corpus.read(tmp_path / "binary")


def test_the_bundled_corpus_is_large_and_filled() -> None:
    texts = list(islice(Corpus.read(CORPUS).texts(draw()), 50_000))
    assert len(set(texts)) == 50_000
    assert not [text for text in texts if set("<>[]|") & set(text) or "  " in text or text != text.rstrip()]
    assert max(map(len, texts)) < 250
