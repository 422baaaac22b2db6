"""The material of a run: the data as texts and as ids, the base weights' folder and tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training import base
from training.config import Config
from training.data import Dataset, load
from training.encoding import Encoded, encode, serving_tokenizer
from training.errors import DataError


@dataclass(frozen=True)
class Material:
    """What the stages share. Artefacts are chosen on `validation`, figures are reported on `test`."""

    dataset: Dataset
    train: Encoded
    validation: Encoded
    test: Encoded
    base: Path
    tokenizer: Any
    serving: Tokenizer


def gather(config: Config) -> Material:
    """Read the data and find the base weights. Raises DataError and ModelError."""
    dataset = load(config.data, config.seed)
    if not len(dataset.validation):
        raise DataError("there is no validation split to choose on: name one in data.validation or raise data.holdout")
    if config.teacher.path:
        folder = base.resolve(config.teacher.path, "teacher.path")
    else:
        folder = base.resolve(config.teacher.base)
    tokenizer = base.load_tokenizer(folder)
    serving = serving_tokenizer(tokenizer)
    train, validation, test = (
        encode(split, serving, config.max_length, tokenizer.pad_token_id) for split in dataset.splits
    )
    return Material(dataset, train, validation, test, folder, tokenizer, serving)
