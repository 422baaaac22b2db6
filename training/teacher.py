"""The teacher: fine-tuned from base weights, or loaded from where an earlier run left it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training import base, loop, loss
from training.config import Teacher
from training.encoding import Batch, Encoded
from training.errors import ModelError
from training.loop import Stage
from training.machine import Machine, seed_everything


def fine_tune(
    config: Teacher, folder: Path, labels: Sequence[str], train: Encoded, machine: Machine, stage: Stage
) -> nn.Module:
    """Fine-tune the base weights in `folder` on the labelled training texts."""
    return loop.fit(untrained(folder, labels, stage.seed), train, cross_entropy, config.fit, machine, stage)


def untrained(folder: Path, labels: Sequence[str], seed: int) -> nn.Module:
    """The base weights with a head that depends on the seed alone."""
    seed_everything(seed, "head")
    return base.load_classifier(folder, labels)


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """The teacher's loss."""
    return loss.labels(loop.logits_of(model, batch), batch.labels)


def load(folder: Path, labels: Sequence[str]) -> nn.Module:
    """Load a fine-tuned teacher; raises ModelError when it was trained for other labels."""
    known = base.labels_of(folder)
    if known != tuple(labels):
        strange = sorted(set(known) ^ set(labels)) or ["their order"]
        raise ModelError(
            f"the teacher in {folder} was trained for {len(known)} labels, the data has {len(labels)}; they differ in "
            f"{', '.join(strange[:5])}"
        )
    return base.load_classifier(folder, labels).eval()


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save model and tokenizer as a transformers folder that appears whole."""
    staged = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    shutil.rmtree(folder, ignore_errors=True)
    staged.rename(folder)
