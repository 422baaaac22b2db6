"""What a version brings for the gateway's semantic cache: its embedding table, and what a replay with it found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training import loop, table
from training.config import Embedder
from training.encoding import Encoded
from training.machine import Machine
from training.manifest import SemanticReplay, StaticEmbedder
from training.replay import DELTA, SCORE, replay
from training.table import FILE, Int8s, Words


@dataclass(frozen=True)
class Semantic:
    """The table and the manifest's words on it."""

    vectors: Int8s
    embedder: StaticEmbedder
    replay: SemanticReplay

    def save(self, folder: Path) -> dict[str, Path]:
        """Write the table; return its name in the version folder and where it lies."""
        return {FILE: table.save(self.vectors, folder / FILE)}


def prepare(config: Embedder, model: Any, words: Words, train: Encoded, machine: Machine, seed: int) -> Int8s:
    """Distil the table from the student and its answers to the training texts."""
    answers = loop.predict(model, train, machine, title="student's answers")
    return table.distil(config, model, words, train, answers, seed)


def describe(vectors: Int8s, split: str, test: Encoded, logits: npt.NDArray[np.float32], seed: int) -> Semantic:
    """Replay `test`, which nobody was trained on, shuffled; `logits` are the published model's."""
    order = np.random.default_rng(seed).permutation(len(test))
    found = replay(table.embed(vectors, test.ids)[order], logits.argmax(-1)[order])
    best = found.best(DELTA)
    return Semantic(
        vectors,
        StaticEmbedder(FILE, vectors.shape[1]),
        SemanticReplay(split, len(test), SCORE, found.start_threshold(), best.share, best.wrong),
    )
