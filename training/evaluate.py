"""Evaluation of an artefact as exported: ONNX Runtime on this machine, alone and in batches."""

import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tqdm import tqdm

from training.encoding import Encoded, pad

LENGTHS = (8, 16, 32, 64, 128)
COMPANY = 16  # rows of the batches that are compared with single texts
ROUNDS = 7  # artefacts are timed in turn, so that a slow moment hits all of them
RUNS = 30
WARMUP_RUNS = 10

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """How one artefact did on the evaluation split; `latency_ms` is the median at batch 1 on one thread by length."""

    artefact: str
    path: Path
    accuracy: float
    batch_flip_rate: float
    bytes: int
    logits: Logits
    latency_ms: Mapping[str, float]


@dataclass(frozen=True)
class Answers:
    """Logits of each text alone, the share labelled right, and the share whose label changes in company."""

    alone: Logits
    accuracy: float
    flip_rate: float


def all_of(artefacts: Mapping[str, Path], data: Encoded, max_length: int, max_batch_size: int) -> dict[str, Result]:
    """Evaluate every artefact (name -> ONNX file) on `data`."""
    answers = answers_of(artefacts, data, max_batch_size)
    times = latencies(artefacts, data, max_length)
    return {
        name: Result(
            artefact=name,
            path=path,
            accuracy=answers[name].accuracy,
            batch_flip_rate=answers[name].flip_rate,
            bytes=path.stat().st_size,
            logits=answers[name].alone,
            latency_ms=times[name],
        )
        for name, path in artefacts.items()
    }


def answers_of(artefacts: Mapping[str, Path], data: Encoded, max_batch_size: int) -> dict[str, Answers]:
    """What every artefact (name -> ONNX file) answers on `data`, alone and in company."""
    return {name: _answers(name, path, data, max_batch_size) for name, path in artefacts.items()}


def _answers(name: str, path: Path, data: Encoded, max_batch_size: int) -> Answers:
    session = _session(path, threads=0)
    rows = tqdm(range(len(data)), desc=f"evaluate {name}", unit="text")
    alone = np.concatenate([_run(session, data, [row]) for row in rows])
    labels = alone.argmax(-1)
    flipped = np.zeros(len(data), dtype=bool)
    for order, size in _arrangements(data, max_batch_size):
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            flipped[chunk] |= _run(session, data, chunk).argmax(-1) != labels[chunk]
    return Answers(alone, float((labels == np.array(data.labels)).mean()), float(flipped.mean()))


def _arrangements(data: Encoded, max_batch_size: int) -> list[tuple[list[int], int]]:
    """Two ways of company: strangers as they come, and full batches of similar length as the gateway makes them."""
    rows = list(range(len(data)))
    by_length = sorted(rows, key=lambda row: len(data.ids[row]))
    return [(rows, min(COMPANY, max_batch_size)), (by_length, max_batch_size)]


def latencies(artefacts: Mapping[str, Path], data: Encoded, max_length: int) -> dict[str, dict[str, float]]:
    """Median milliseconds at batch 1 on one thread, by token length."""
    sessions = {name: _session(path, threads=1) for name, path in artefacts.items()}
    tokens = [token for row in data.ids[:64] for token in row[1:-1]]
    lengths = [length for length in LENGTHS if length <= max_length] or [max_length]
    found: dict[str, dict[str, float]] = {name: {} for name in artefacts}
    for length in lengths:
        ids = np.resize(np.array(tokens, dtype=np.int64), (1, length))
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        times: dict[str, list[float]] = {name: [] for name in artefacts}
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                times[name] += _time(session, feed)
        for name, measured in times.items():
            found[name][str(length)] = round(1000 * statistics.median(measured), 4)
    return found


def _time(session: onnxruntime.InferenceSession, feed: Mapping[str, npt.NDArray[np.int64]]) -> list[float]:
    for _ in range(WARMUP_RUNS):
        session.run(["logits"], feed)
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(["logits"], feed)
        seconds.append(time.perf_counter() - start)
    return seconds


def typical_length(data: Encoded, measured: Sequence[str]) -> str:
    """The measured length that the median text fits in."""
    median = statistics.median(len(row) for row in data.ids)
    lengths = sorted(map(int, measured))
    return str(next((length for length in lengths if length >= median), lengths[-1]))


def processor() -> str:
    """The processor's name, as the kernel or the platform tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, data: Encoded, rows: Sequence[int]) -> Logits:
    ids, mask = pad([data.ids[row] for row in rows], data.pad_id)
    (logits,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    found: Logits = logits
    return found
