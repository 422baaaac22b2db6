"""`retort cache evaluate`: what a semantic cache would do with your texts, before anyone turns it on."""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.cache.embedder import Embedder
from gateway.errors import GatewayError
from gateway.serving.repository import Repository, StoredVersion
from gateway.serving.tokenizer import Tokenizer
from retort_cli.errors import CommandError

LEVELS = (0.005, 0.01, 0.02)
PLOT_STEPS = tuple(round(2.5 - 0.1 * step, 1) for step in range(14))
PLOT_WIDTH = 50


@dataclass(frozen=True)
class Answers:
    """What the published model says to each text: `labels` [texts], and seconds a text, alone on one thread."""

    labels: npt.NDArray[np.int64]
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    commands = parser.add_subparsers(dest="cache_command", required=True)
    evaluate = commands.add_parser("evaluate", help="replay texts in order and print what a semantic cache would give")
    evaluate.add_argument("--data", type=Path, required=True, help="one text a line, or JSON lines with `text`")
    evaluate.add_argument("--model", required=True)
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    evaluate.add_argument("--repository", type=Path, default=Path(repository), help="a folder; default: %(default)s")
    evaluate.add_argument("--limit", type=int, default=20_000, help="texts at most; default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Print hit share, error and saving of every threshold, and the best ones in hindsight."""
    from training.replay import replay

    texts = read_texts(arguments.data, arguments.limit)
    stored = stable(arguments.repository, arguments.model)
    facts, table = stored.manifest.embedder, stored.embedding_table
    if facts is None or table is None:
        raise CommandError(f"the stable version of {arguments.model} was published without an embedding table")
    tokenizer = Tokenizer(stored.tokenizer_json, max_length=stored.manifest.max_length, pair=False)
    rows = [tokens.ids for tokens in tokenizer.encode_all(texts)]
    embedder = Embedder(table, vocab_size=stored.manifest.vocab_size, width=facts.width)
    vectors = np.zeros((len(rows), facts.width), dtype=np.float32)
    for number, ids in enumerate(rows):
        if (vector := embedder.embed(ids)) is not None:
            vectors[number] = vector
    folder = arguments.repository / arguments.model / str(stored.manifest.version)
    answers = infer(folder / "model.onnx", rows)
    repeats = len(rows) - len({tuple(ids) for ids in rows})
    print(
        f"{len(rows)} texts, {repeats / len(rows):.1%} exact repeats, {1000 * answers.seconds:.2f} ms inference a text"
    )
    found = replay(vectors, answers.labels)
    for level in LEVELS:
        best = found.best(level)
        at = f"score {best.threshold:.2f}" if best.threshold is not None else "no score"
        print(
            f"at most {level:.1%} wrong: {best.share:.1%} of the texts answered by neighbours ({at}; {best.wrong:.2%} "
            f"wrong; saves {best.share * answers.seconds * len(rows):.1f} s of inference)"
        )
    print(f"start threshold: {found.start_threshold()} (the version was published with {facts.start_threshold})")
    for line in plot(*found.curve()):
        print(line)
    return 0


def read_texts(path: Path, limit: int) -> list[str]:
    """Read one text a line; lines that are JSON objects have it under `text`."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:limit]
        texts = [json.loads(line)["text"] if line.startswith("{") else line for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"{path} is no file of texts, one a line or JSON lines with `text`: {error!r}") from error
    if not texts:
        raise CommandError(f"{path} holds no text")
    return texts


def stable(repository: Path, model: str) -> StoredVersion:
    """Return the verified stable version; CommandError says why there is none."""
    try:
        found = Repository(str(repository)).scan({}).get(model)
    except GatewayError as error:
        raise CommandError(str(error)) from error
    if found is None or found.stable is None:
        raise CommandError(f"{repository} holds no stable version of {model}: {found.problem if found else 'no model'}")
    version = found.versions[found.stable]
    if version.manifest.task != "classification" or version.manifest.pair:
        raise CommandError(f"{model} does not classify single texts: it has no semantic cache")
    return version


def infer(path: Path, rows: Sequence[Sequence[int]]) -> Answers:
    """Ask the published network, one text at a time."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise CommandError("evaluating needs ONNX Runtime: pip install 'retort[model-server]'") from error
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    labels = np.zeros(len(rows), dtype=np.int64)
    started_s = time.perf_counter()
    for number, ids in enumerate(rows):
        tokens = np.array([ids], dtype=np.int64)
        (logits,) = session.run(["logits"], {"input_ids": tokens, "attention_mask": np.ones_like(tokens)})
        labels[number] = logits.argmax()
    return Answers(labels, (time.perf_counter() - started_s) / len(rows))


def plot(
    thresholds: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]
) -> Iterator[str]:
    """Yield a line a threshold: how much it would answer, as a bar, and how much of that is wrong."""
    yield f"{'score':>5}  {'answered':<{PLOT_WIDTH + 7}} wrong"
    for threshold in PLOT_STEPS:
        answered = int((thresholds >= threshold).sum())
        share, error = (shares[answered - 1], wrong[answered - 1]) if answered else (0.0, 0.0)
        bar = "#" * round(PLOT_WIDTH * share)
        yield f"{threshold:>5.1f}  {bar:<{PLOT_WIDTH}} {share:6.1%} {error:6.2%}"
