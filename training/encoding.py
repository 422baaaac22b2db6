"""Texts as token ids, and batches of similar length."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

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


class LengthBuckets(Sampler[list[int]]):
    """Row numbers in batches of similar length, in an order that depends on seed and epoch alone."""

    drop_last = False  # accelerate asks when it shares the batches among processes

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        source = random.Random(f"{self.seed}/{self.epoch}")  # noqa: S311 - an order, no secret
        order = source.sample(range(len(self.lengths)), len(self.lengths))
        pool = self.batch_size * POOL_BATCHES
        batches = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=self.lengths.__getitem__)
            batches += [near[i : i + self.batch_size] for i in range(0, len(near), self.batch_size)]
        source.shuffle(batches)
        yield from batches


def loader(encoded: Encoded, batches: Sampler[list[int]]) -> DataLoader[Any]:
    """Yield a Batch for each list of row numbers."""

    def collate(rows: list[int]) -> Batch:
        ids, mask = pad([encoded.ids[row] for row in rows], encoded.pad_id, PAD_MULTIPLE)
        labels = torch.tensor([encoded.labels[row] for row in rows])
        return Batch(ids, mask, labels, torch.tensor(rows))

    return DataLoader(range(len(encoded)), batch_sampler=batches, collate_fn=collate)  # type: ignore[arg-type]


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
