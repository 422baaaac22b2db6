"""A small training that tests run in processes of their own: two layers, 96 rows, dropout as wanted."""

from pathlib import Path

import torch
import transformers
from torch import nn

from training import loop, teacher
from training.config import Fit
from training.encoding import Encoded
from training.journal import Journal
from training.loop import Stage
from training.machine import Machine

DATA = Encoded(
    tuple((2, 5 + i % 2, *(7 + (i * 3 + k) % 9 for k in range(i % 11)), 3) for i in range(96)),
    tuple(i % 2 for i in range(96)),
    pad_id=0,
)
FIT = Fit(epochs=5, learning_rate=1e-2, batch_size=8)  # 60 steps


def model(dropout: float = 0.1) -> nn.Module:
    """The same first weights each time."""
    torch.manual_seed(1)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def train(
    folder: Path, *, machine: Machine | None = None, fit: Fit = FIT, checkpoint_s: float = 1e9, dropout: float = 0.1
) -> nn.Module:
    """Train with checkpoints (0: after every step) and a journal in `folder`."""
    machine = machine or Machine()
    journal = Journal(folder / "log.jsonl" if machine.leads else None)
    stage = Stage("lesson", 5, DATA, folder / "checkpoints", journal, checkpoint_s)
    return loop.fit(model(dropout), DATA, teacher.cross_entropy, fit, machine, stage)
