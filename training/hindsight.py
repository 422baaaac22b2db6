"""Hindsight: how many requests a semantic cache could answer at best, by table. The figures of docs/decisions.md.

Needs the student that `retort train CONFIG` left in its run folder, and the version that it published.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tqdm import tqdm

from training import base, config, data, loop, table
from training.encoding import Encoded, encode, pad, serving_tokenizer
from training.errors import TrainingError
from training.machine import Machine
from training.replay import replay
from training.table import Floats, Int8s, Words

LEVELS = (0.005, 0.01, 0.02)
REQUESTS = 12_000
ROWS = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.hindsight", description=__doc__)
    parser.add_argument("config", type=Path)
    repository = Path(os.environ.get("RETORT_MODEL_REPOSITORY", "model-repo"))
    parser.add_argument("--repository", type=Path, default=repository)
    parser.add_argument("--seeds", type=int, default=5, help="permutations to average (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        measure(config.load(given.config), given.repository, given.seeds)
    except (TrainingError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def measure(wanted: config.Config, repository: Path, seeds: int) -> None:
    """Print a line for each table and stream: the share answered at each share wrong, in hindsight."""
    dataset = data.load(wanted.data, wanted.seed)
    folder = wanted.run_folder / "student"
    tokenizer = base.load_tokenizer(folder)
    serving = serving_tokenizer(tokenizer)
    train, test = (encode(split, serving, wanted.max_length, tokenizer.pad_token_id) for split in _splits(dataset))
    words = Words.of(serving, tokenizer.all_special_ids)
    truths = _served(_stable(repository, wanted.model), (train, test))
    for name, vectors in _tables(wanted, dataset.labels, words, train).items():
        embedded = table.embed(vectors, train.ids + test.ids)
        report(f"{name}, train and test", embedded, truths, seeds)
        report(f"{name}, test alone", embedded[len(train) :], truths[len(train) :], seeds)


def report(name: str, vectors: Floats, truths: npt.NDArray[np.int64], seeds: int) -> None:
    """Print the mean over permutations, and the thresholds of the first."""
    shares = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(vectors))[:REQUESTS]
        found = replay(vectors[order], truths[order])
        shares.append([found.best(level).share for level in LEVELS])
        start = found.start_threshold()
    means = "  ".join(f"{share:.3f} at {level:.1%}" for share, level in zip(np.mean(shares, 0), LEVELS, strict=True))
    sys.stdout.write(f"{name + ':':<44} {means}  (start threshold {start})\n")
    sys.stdout.flush()


def _splits(dataset: data.Dataset) -> tuple[data.Split, data.Split]:
    return dataset.train, dataset.test


def _tables(wanted: config.Config, labels: Sequence[str], words: Words, train: Encoded) -> Mapping[str, Floats | Int8s]:
    student = base.load_classifier(wanted.run_folder / "student", labels)
    general = base.load_classifier(base.resolve(wanted.teacher.base), labels)
    answers = loop.predict(student, train, Machine(), title="student's answers")
    width, options = wanted.embedder.width, {"epochs": wanted.embedder.epochs, "seed": wanted.seed}
    task = table.read_off(student, words, train, width)
    trained = table.fit(task, words, train, answers, **options)
    return {
        "general": table.read_off(general, words, train, width),
        "task, not trained": task,
        "task, trained, FP32": trained,
        "task, trained, INT8 (published)": table.quantise(trained),
    }


def _stable(repository: Path, model: str) -> Path:
    version = json.loads((repository / model / "stable.json").read_text())["version"]
    return repository / model / str(version) / "model.onnx"


def _served(path: Path, splits: Sequence[Encoded]) -> npt.NDArray[np.int64]:
    """The published model's labels of all texts, computed in batches without padding."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = [row for split in splits for row in split.ids]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    labels = np.zeros(len(ids), dtype=np.int64)
    for _, group in tqdm(itertools.groupby(order, key=lambda row: len(ids[row])), desc="served labels", unit="length"):
        for rows in _batched(list(group)):
            tokens, mask = pad([ids[row] for row in rows], 0)
            (logits,) = session.run(["logits"], {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()})
            labels[list(rows)] = logits.argmax(-1)
    return labels


def _batched(rows: list[int]) -> list[list[int]]:
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]


if __name__ == "__main__":
    sys.exit(main())
