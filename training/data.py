"""Labelled texts: files, the hub and the generated demo behind one `data` table, checked before anything is trained."""

import csv
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import demo
from training.config import Data, expand
from training.errors import DataError

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")


@dataclass(frozen=True)
class Row:
    """One labelled text and where it stands (`train.tsv line 12`), for error messages."""

    text: str
    label: str
    place: str


@dataclass(frozen=True)
class Split:
    """Texts and, for each, the index of its label."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """What a run trains on, what its choices are judged on, and what is reported. `labels[i]` is label i's name."""

    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def sha256(self) -> str:
        """Hex digest of every text and label, in order."""
        content = [self.labels, *((part.name, part.texts, part.labels) for part in self.splits)]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three, in order."""
        return self.train, self.validation, self.test


def load(config: Data, seed: int) -> Dataset:
    """Read, check and number the labels. Raises DataError that names the file, line or label at fault."""
    rows = _read(config, seed)
    for part in ("train", "test"):
        if not rows[part]:
            raise DataError(f"the {part} split ({_split_name(config, part)}) of {config.source} holds no rows")
    _refuse_blanks(row for part in rows.values() for row in part)
    if not rows["validation"]:
        rows["train"], rows["validation"] = _hold_out(rows["train"], config.holdout, seed)
    labels = tuple(sorted({row.label for row in rows["train"]}, key=_label_order))
    if len(labels) < 2:
        raise DataError(f"the training texts of {config.source} all have the label {labels[0]!r}: nothing to learn")
    numbers = {label: index for index, label in enumerate(labels)}
    for part in ("validation", "test"):
        for row in rows[part]:
            if row.label not in numbers:
                raise DataError(f"{row.place}: the label {row.label!r} does not occur in the training split")
    named = tuple(config.names.get(label, label) for label in labels)
    return Dataset(
        named,
        **{
            part: Split(part, tuple(row.text for row in found), tuple(numbers[row.label] for row in found))
            for part, found in rows.items()
        },
    )


def _refuse_blanks(rows: Iterable[Row]) -> None:
    for row in rows:
        for what, value in (("text", row.text), ("label", row.label)):
            if not value.strip():
                raise DataError(f"{row.place}: the {what} is empty")


def _read(config: Data, seed: int) -> dict[str, list[Row]]:
    if config.source == "demo":
        made = demo.generate(seed)
        return {
            part: [Row(text, label, f"demo {part} {i}") for i, (text, label) in enumerate(rows)]
            for part, rows in made.items()
        }
    if config.source.startswith("hub:"):
        return {part: _hub(config, name) for part, name in _split_names(config).items()}
    source = Path(expand(config.source, "data.source"))
    if source.is_dir():
        return {part: list(_file(_split_file(source, name), config)) for part, name in _split_names(config).items()}
    if source.suffix == ".json":
        return _json_splits(source, config)
    if not source.is_file():
        raise DataError(f"data.source: there is no file or folder {source}")
    return _divide(list(_file(source, config)), config.holdout, seed)


def _split_names(config: Data) -> dict[str, str]:
    return {"train": config.train, "validation": config.validation, "test": config.test}


def _split_name(config: Data, part: str) -> str:
    return _split_names(config)[part]


def _split_file(folder: Path, name: str) -> Path:
    if not name:
        return Path()
    for candidate in (folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder} holds no file for the split {name!r} ({name}{', '.join(SUFFIXES)})")


def _divide(rows: list[Row], holdout: float, seed: int) -> dict[str, list[Row]]:
    """Shuffle one file's rows by seed: `holdout` of them each for validation and test, the rest for training."""
    order = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - a split, no secret
    held = round(len(rows) * holdout)
    return {"test": order[:held], "validation": order[held : 2 * held], "train": order[2 * held :]}


def _hold_out(rows: list[Row], holdout: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Divide training rows by seed into those that stay and a validation split; a label's last row stays."""
    left = Counter(row.label for row in rows)
    held: set[int] = set()
    for number in random.Random(seed).sample(range(len(rows)), len(rows)):  # noqa: S311 - a split, no secret
        if len(held) < round(len(rows) * holdout) and left[rows[number].label] > 1:
            left[rows[number].label] -= 1
            held.add(number)
    parts: tuple[list[Row], list[Row]] = ([], [])
    for number, row in enumerate(rows):
        parts[number in held].append(row)
    return parts


def _file(path: Path, config: Data) -> Iterator[Row]:
    if path == Path():  # a split that the configuration leaves out
        return
    text = _decode(path)
    if not text.strip():
        raise DataError(f"{path} is empty")
    if path.suffix == ".jsonl":
        yield from _records(_json_lines(path, text), config)
    elif path.suffix == ".json":
        yield from _records(_enumerated(path, _parse_json(path, text)), config)
    elif path.suffix in (".tsv", ".csv"):
        yield from _table(path, text, config)
    else:
        raise DataError(f"{path}: the format {path.suffix!r} is none of {', '.join(SUFFIXES)}")


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _table(path: Path, text: str, config: Data) -> Iterator[Row]:
    tabs = path.suffix == ".tsv"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    by_name = isinstance(config.text, str) or isinstance(config.label, str)
    header = next(reader, []) if by_name else []
    columns = [_column(key, wanted, header, path) for key, wanted in (("text", config.text), ("label", config.label))]
    for fields in reader:
        if not fields:
            continue
        place = f"{path} line {reader.line_num}"
        if max(columns) >= len(fields):
            raise DataError(f"{place}: {len(fields)} columns, but column {max(columns)} (counted from 0) is needed")
        yield Row(fields[columns[0]], fields[columns[1]], place)


def _column(key: str, wanted: str | int, header: Sequence[str], path: Path) -> int:
    if isinstance(wanted, int):
        return wanted
    if wanted not in header:
        raise DataError(
            f"{path} has no {key} column {wanted!r}; its first line is {', '.join(map(repr, header))}. Set data.{key} "
            "to a column name, or data.text and data.label to numbers if the file has no header"
        )
    return header.index(wanted)


def _json_splits(path: Path, config: Data) -> dict[str, list[Row]]:
    """One object with a key per split, each a list of [text, label] pairs or of objects."""
    content = _parse_json(path, _decode(path))
    if not isinstance(content, dict):
        raise DataError(f"{path} must be an object with a key for each split")
    rows: dict[str, list[Row]] = {}
    for part, name in _split_names(config).items():
        if name and name not in content:
            raise DataError(f"{path} has no split {name!r}; it has {', '.join(content) or 'none'}")
        items = content[name] if name else []
        rows[part] = list(_records(_enumerated(path, items, f" {name}"), config))
    return rows


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path} line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path} line {number} is not JSON: {error.msg}") from error


def _parse_json(path: Path, text: str) -> Any:
    if not text.strip():
        raise DataError(f"{path} is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno} is not JSON: {error.msg}") from error


def _enumerated(path: Path, items: Any, part: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(items, list):
        raise DataError(f"{path}{part} must be a list of rows")
    for number, item in enumerate(items):
        yield f"{path}{part} row {number}", item


def _records(items: Iterable[tuple[str, Any]], config: Data) -> Iterator[Row]:
    """Rows of JSON or of the hub: objects by column name, lists by number (named columns mean text, label)."""
    for place, item in items:
        if isinstance(item, Mapping):
            yield Row(_value(item, config.text, "text", place), _value(item, config.label, "label", place), place)
        elif isinstance(item, list):
            text = config.text if isinstance(config.text, int) else 0
            label = config.label if isinstance(config.label, int) else 1
            if max(text, label) >= len(item):
                raise DataError(
                    f"{place}: {len(item)} values, but number {max(text, label)} (counted from 0) is needed"
                )
            yield Row(str(item[text]), str(item[label]), place)
        else:
            raise DataError(f"{place} is neither an object nor a list")


def _value(item: Mapping[str, Any], key: str | int, name: str, place: str) -> str:
    if key not in item:
        raise DataError(f"{place} has no {name} column {key!r}; it has {', '.join(map(repr, item))}")
    value = item[str(key)]
    return "" if value is None else str(value)


def _hub(config: Data, split: str) -> list[Row]:
    if not split:
        return []
    try:
        import datasets
    except ImportError as error:
        raise DataError("data from the hub needs the package datasets: pip install 'retort[hub]'") from error
    name, _, configuration = config.source.removeprefix("hub:").partition(":")
    try:
        loaded = datasets.load_dataset(name, configuration or None, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot load the split {split!r} of {name} from the hub: {reason}") from error
    feature = loaded.features.get(str(config.label))
    rows = list(_records(((f"{name} {split} row {i}", item) for i, item in enumerate(loaded)), config))
    if hasattr(feature, "int2str"):  # the hub stores class labels as numbers beside their names
        rows = [
            Row(row.text, feature.int2str(int(row.label)) if int(row.label) >= 0 else "", row.place) for row in rows
        ]
    return rows


def _label_order(label: str) -> tuple[int, int, str]:
    """Numbers in numeric order before names in alphabetical order."""
    return (0, int(label), label) if label.isdecimal() else (1, 0, label)
