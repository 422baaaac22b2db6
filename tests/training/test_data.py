"""Tests of training/data.py."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from training import data
from training.config import Data
from training.errors import DataError

GOOD = 'text,label\nfine film,1\n"bad, sad",0\ngood,1\nawful,0\n'


def folder(path: Path, **files: str) -> Path:
    """A folder with one file for each split."""
    for name, content in files.items():
        (path / f"{name}.csv").write_text(content)
    return path


def test_a_folder_of_csv_files_becomes_splits(tmp_path: Path) -> None:
    source = folder(tmp_path, train=GOOD, dev="text,label\nfine,1\n", test="text,label\nsad,0\n")
    found = data.load(Data(str(source), validation="dev", names={"0": "negative", "1": "positive"}), seed=1)
    assert found.labels == ("negative", "positive")
    assert found.train.texts == ("fine film", "bad, sad", "good", "awful")
    assert found.train.labels == (1, 0, 1, 0)
    assert found.validation.texts == ("fine",)
    assert found.test.labels == (0,)


def test_tab_separated_files_take_column_numbers_and_know_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('1\tsay "hi\t\n0\tother\t\n')
    (tmp_path / "test.tsv").write_text("1\tx\t\n")
    found = data.load(Data(str(tmp_path), text=1, label=0), seed=1)
    assert found.train.texts == ('say "hi', "other")
    assert found.train.labels == (1, 0)


def test_one_json_file_holds_all_splits(tmp_path: Path) -> None:
    path = tmp_path / "full.json"
    path.write_text(json.dumps({"train": [["a", "x"], ["b", "y"]], "test": [{"text": "c", "label": "y"}]}))
    found = data.load(Data(str(path)), seed=1)
    assert (found.labels, found.train.texts, found.test.labels) == (("x", "y"), ("a", "b"), (1,))


def test_one_file_of_json_lines_is_divided_by_seed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"q": f"text {i}", "kind": i % 2}) for i in range(40)))
    config = Data(str(path), text="q", label="kind", holdout=0.1)
    found, again, other = data.load(config, 1), data.load(config, 1), data.load(config, 2)
    assert [len(part) for part in found.splits] == [32, 4, 4]
    assert len({text for part in found.splits for text in part.texts}) == 40
    assert found.sha256 == again.sha256 != other.sha256


def test_numeric_labels_are_ordered_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"train": [["a", i] for i in (10, 9, 1)], "test": [["a", 10]]}))
    assert data.load(Data(str(path)), seed=1).labels == ("1", "9", "10")


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("text,kind\na,1\n", GOOD, "train.csv has no label column 'label'; its first line is 'text', 'kind'"),
        ("txt,label\na,1\n", GOOD, "train.csv has no text column 'text'"),
        ("", GOOD, "train.csv is empty"),
        ("text,label\n", GOOD, "the train split (train)"),
        (GOOD, "text,label\n", "the test split (test)"),
        (GOOD, "text,label\nok,1\nfine,7\n", "test.csv line 3: the label '7' does not occur in the training split"),
        ("text,label\na,1\n  ,0\n", GOOD, "train.csv line 3: the text is empty"),
        ("text,label\na,1\nb,\n", GOOD, "train.csv line 3: the label is empty"),
        ("text,label\na,1\nb\n", GOOD, "train.csv line 3: 1 columns, but column 1"),
        ("text,label\na,1\nb,1\n", GOOD, "all have the label '1'"),
    ],
)
def test_bad_tables_are_refused_with_the_place(tmp_path: Path, train: str, test: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        data.load(Data(str(folder(tmp_path, train=train, test=test))), seed=1)
    assert message in str(caught.value)


def test_broken_encoding_names_file_line_and_byte(tmp_path: Path) -> None:
    folder(tmp_path, test=GOOD)
    (tmp_path / "train.csv").write_bytes("text,label\nfine,1\nnaïve,0\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.csv line 3: byte 0xef is not UTF-8"):
        data.load(Data(str(tmp_path)), seed=1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.json", "[1]", "must be an object with a key for each split"),
        ("d.json", '{"train": [["a", "x"]]}', "has no split 'test'; it has train"),
        ("d.json", '{"train": 3, "test": []}', "train must be a list of rows"),
        ("d.json", '{"train": [["a"]], "test": []}', "train row 0: 1 values, but number 1"),
        ("d.json", '{"train": ["a"], "test": []}', "train row 0 is neither an object nor a list"),
        ("d.json", '{\n"train": ,', "d.json line 2 is not JSON"),
        ("d.jsonl", '{"text": "a", "label": 1}\n{"text"', "d.jsonl line 2 is not JSON"),
        ("d.jsonl", '{"text": "a", "kind": 1}', "d.jsonl line 1 has no label column 'label'; it has 'text', 'kind'"),
        ("d.txt", "a b", "the format '.txt' is none of"),
    ],
)
def test_bad_json_and_formats_are_refused_with_the_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        data.load(Data(str(tmp_path / name)), seed=1)
    assert message in str(caught.value)


def test_absent_files_and_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or folder .*nowhere"):
        data.load(Data(str(tmp_path / "nowhere")), seed=1)
    with pytest.raises(DataError, match="no file for the split 'test'"):
        data.load(Data(str(folder(tmp_path, train=GOOD))), seed=1)


class Hub(list[dict[str, Any]]):
    """Stands for a split that `datasets` loaded."""

    class Names:
        """A class label feature."""

        @staticmethod
        def int2str(number: int) -> str:
            return ("no", "yes")[number]

    features = {"label": Names()}  # noqa: RUF012


def test_the_hub_is_the_same_key_and_numbers_get_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, configuration: str | None, *, split: str) -> Hub:
        asked.append((name, configuration, split))
        return Hub([{"text": "a", "label": 1}, {"text": "b", "label": 0}])

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    found = data.load(Data("hub:nyu-mll/glue:sst2", test="validation"), seed=1)
    assert asked == [("nyu-mll/glue", "sst2", "train"), ("nyu-mll/glue", "sst2", "validation")]
    assert (found.labels, found.test.labels) == (("no", "yes"), (1, 0))


def test_the_hub_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'retort\[hub\]'"):
        data.load(Data("hub:any"), seed=1)


def test_without_a_validation_split_some_training_texts_become_one(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{i % 2}\n" for i in range(40))
    source = folder(tmp_path, train=f"text,label\n{rows}only one,2\n", test="text,label\nsad,0\n")
    config = Data(str(source), holdout=0.2)
    found, again, other = data.load(config, 1), data.load(config, 1), data.load(config, 2)
    assert (len(found.train), len(found.validation), len(found.test)) == (33, 8, 1)
    assert not set(found.train.texts) & set(found.validation.texts)
    assert "only one" in found.train.texts  # else nothing would be left to learn its label from
    assert found.sha256 == again.sha256 != other.sha256
