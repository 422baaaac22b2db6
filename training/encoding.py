"""Texts as token ids, and batches of similar length."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.data import Split

PAD_MULTIPLE = 16  # bf16 kernels are compiled per shape: free lengths made training several times slower
POOL_BATCHES = 32  # how many batches are sorted by length together; more would make epochs less random


@dataclass(frozen=True)
class Encoded:
    """One split: token ids without padding, label numbers."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    pad_id: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row) for row in self.ids]

    def batch(self, rows: Sequence[int]) -> "Batch":
        """The rows of these numbers as tensors, padded to a multiple of 16."""
        ids, mask = pad([self.ids[row] for row in rows], self.pad_id, PAD_MULTIPLE)
        return Batch(ids, mask, torch.tensor([self.labels[row] for row in rows]), torch.tensor(rows))


@dataclass
class Batch:
    """Tensors of one step: `ids`, `mask` [rows, length], `labels`, `index` (the row in the split) [rows]."""

    ids: Tensor
    mask: Tensor
    labels: Tensor
    index: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(value.to(device) for value in (self.ids, self.mask, self.labels, self.index)))


def serving_tokenizer(tokenizer: Any) -> Tokenizer:
    """The `tokenizers` object as it is published: whoever serves it sets truncation and padding."""
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    return backend


def encode(split: Split, tokenizer: Tokenizer, max_length: int, pad_id: int) -> Encoded:
    """Tokenise each text, truncated to `max_length` tokens, special ones included."""
    cutting: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    cutting.enable_truncation(max_length)
    return Encoded(tuple(tuple(found.ids) for found in cutting.encode_batch(list(split.texts))), split.labels, pad_id)


def length_buckets(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row numbers in batches of similar length, in an order that depends on seed and epoch alone."""
    source = random.Random(f"{seed}/{epoch}")  # noqa: S311 - an order, no secret
    order = source.sample(range(len(lengths)), len(lengths))
    pool = batch_size * POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lengths.__getitem__)
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    source.shuffle(batches)
    return batches


def pad(rows: Sequence[Sequence[int]], pad_id: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Return ids and mask [rows, length], length being the longest row's, rounded up to a multiple."""
    longest = max(len(row) for row in rows)
    length = -(-longest // multiple) * multiple
    ids = torch.full((len(rows), length), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), length), dtype=torch.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask
