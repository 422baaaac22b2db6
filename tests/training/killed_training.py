"""A program: train, be killed with SIGKILL at random moments, go on each time until it is done.

`python killed_training.py FOLDER KILLS SEED` prints how many kills hit a training that was under way. Each attempt is
a process of its own; they are forked from one that has imported torch, which takes longer than the training.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from tests.training import lesson


def attempt(folder: Path, kill_after_s: float | None) -> bool:
    """Train in a new process; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        lesson.train(folder, checkpoint_s=0.0)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("the training failed by itself")
    return not os.WIFSIGNALED(status)


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill `kills` times, then let it end."""
    torch.set_num_threads(1)
    source = random.Random(seed)
    started = time.monotonic()
    attempt(folder / "whole", None)
    whole_s = time.monotonic() - started
    hit = 0
    for _ in range(kills):
        if attempt(folder / "killed", source.uniform(0.1, 0.5) * whole_s):
            break
        hit += 1
    attempt(folder / "killed", None)
    sys.stdout.write(f"{hit}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
