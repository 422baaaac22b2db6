"""A program for torchrun: the small lesson in as many processes as there are; `FOLDER` gets the journal."""

import sys
from pathlib import Path

import torch

from tests.training import lesson
from training import machine

if __name__ == "__main__":
    torch.set_num_threads(1)
    with machine.join("fp32") as here:
        lesson.train(Path(sys.argv[1]), machine=here, dropout=0.0)
