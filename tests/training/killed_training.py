"""A program: train, be killed with SIGKILL at random moments, go on each time until it is done.

`python killed_training.py FOLDER KILLS SEED`. Each attempt is a process of its own; they are forked from one that has
imported everything, which takes longer than the training.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from tests.training import lesson


def start(folder: Path) -> int:
    """Train in a new process, a checkpoint after every step."""
    child = os.fork()
    if child == 0:
        lesson.train(folder, checkpoint_s=0.0)
        os._exit(0)
    return child


def finish(child: int) -> None:
    """Wait for the end of a training that is not killed."""
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("the training failed by itself")


def steps(folder: Path) -> int:
    """How many steps the journal tells of."""
    log = folder / "log.jsonl"
    return log.read_text().count('"kind": "step"') if log.exists() else 0


def main(folder: Path, kills: int, seed: int) -> None:
    """Train once undisturbed and once with `kills` kills, each a few steps and some milliseconds further on."""
    torch.set_num_threads(1)
    lesson.model()  # transformers imports it now, and not in every child
    finish(start(folder / "whole"))
    source = random.Random(seed)
    for _ in range(kills):
        child, target = start(folder / "killed"), steps(folder / "killed") + source.randint(1, 8)
        while steps(folder / "killed") < target:
            time.sleep(0.001)
        time.sleep(source.uniform(0.0, 0.03))  # into the update, the checkpoint or the next step
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    finish(start(folder / "killed"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
