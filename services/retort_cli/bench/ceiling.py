"""The ceiling: texts a second that tokenising, batching and ONNX Runtime reach with no server around them.

`python -m retort_cli.bench.ceiling`: a job on stdin, texts a second on stdout.
"""

import json
import multiprocessing
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np

from retort_cli.bench.driver import run_driver
from retort_cli.bench.texts import numbered
from retort_cli.errors import CommandError

BATCH_SIZES = (4, 8, 16, 32)
SORTED_BATCHES = 8  # texts of so many batches are sorted by length before they are cut: less padding, a higher ceiling
LOADING_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Job:
    """`processes` sessions of `threads` threads each, all working for `seconds`."""

    network: str
    tokenizer: str
    max_length: int
    pad_id: int
    texts: list[str]
    batch_size: int
    processes: int
    threads: int
    seconds: float


@dataclass(frozen=True)
class Arrangement:
    """What reaches the ceiling on this machine."""

    processes: int
    threads: int
    batch_size: int


def arrangements(cores: int, max_batch_size: int) -> list[Arrangement]:
    """Return what is tried: a process a core, and one process with all cores, in several batch sizes."""
    shapes = dict.fromkeys([(cores, 1), (1, cores)])
    sizes = [size for size in BATCH_SIZES if size <= max_batch_size] or [max_batch_size]
    return [Arrangement(processes, threads, size) for processes, threads in shapes for size in sizes]


def run(job: Job, folder: Path) -> float:
    """Return texts a second, measured in processes of their own."""
    return float(run_driver("retort_cli.bench.ceiling", asdict(job), folder, job.seconds + LOADING_TIMEOUT_S + 30))


def _measure(job: Job) -> float:
    context = multiprocessing.get_context("spawn")  # a fork would share this process's thread pools
    results: Any = context.Queue()
    barrier: Any = context.Barrier(job.processes)
    workers = [context.Process(target=_work, args=(job, barrier, results)) for _ in range(job.processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise CommandError("a worker of the ceiling ended early; its message is above")
    return sum(float(results.get()) for _ in workers)


def _work(job: Job, barrier: Any, results: Any) -> None:
    predict = _predictor(job)
    window = job.batch_size * SORTED_BATCHES
    _predict_window(predict, numbered(job.texts, 0, window), job.batch_size, float("inf"))  # warm-up
    try:
        barrier.wait(LOADING_TIMEOUT_S)
    except BrokenBarrierError:
        sys.exit("another worker of the ceiling is not ready")
    done, started_s = 0, time.perf_counter()
    end_s = started_s + job.seconds
    while time.perf_counter() < end_s:
        done += _predict_window(predict, numbered(job.texts, done, window), job.batch_size, end_s)
    results.put(done / (time.perf_counter() - started_s))


def _predict_window(predict: Any, texts: list[str], batch_size: int, end_s: float) -> int:
    texts.sort(key=len)
    for first in range(0, len(texts), batch_size):
        if time.perf_counter() >= end_s:
            return first
        predict(texts[first : first + batch_size])
    return len(texts)


def _predictor(job: Job) -> Any:
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(job.tokenizer)
    tokenizer.enable_truncation(job.max_length)
    tokenizer.enable_padding(pad_id=job.pad_id)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.network, options, providers=["CPUExecutionProvider"])

    def predict(texts: list[str]) -> Any:
        encodings = tokenizer.encode_batch_fast(texts)
        inputs = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        return session.run(["logits"], inputs)[0].argmax(axis=1)

    return predict


if __name__ == "__main__":
    print(_measure(Job(**json.load(sys.stdin))))
