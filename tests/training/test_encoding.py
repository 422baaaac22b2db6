"""Tests of training/encoding.py."""

from pathlib import Path

import torch

from training import base, encoding
from training.data import Split


def test_texts_are_cut_to_the_length_special_tokens_included(tiny_base: Path) -> None:
    tokenizer = encoding.serving_tokenizer(base.load_tokenizer(tiny_base))
    found = encoding.encode(Split("x", ("a good film", "good " * 50), (0, 1)), tokenizer, 8, pad_id=0)
    assert found.ids[0] == (2, 6, 14, 7, 3)
    assert len(found.ids[1]) == 8
    assert (found.ids[1][0], found.ids[1][-1]) == (2, 3)
    assert len(tokenizer.encode("good " * 50).ids) == 52  # the published tokenizer itself does not cut


def test_pad_reaches_the_multiple_and_masks_it() -> None:
    ids, mask = encoding.pad([(1, 2, 3), (4,)], pad_id=9, multiple=4)
    assert ids.tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert encoding.pad([(1, 2, 3)], 9)[0].shape == (1, 3)


def test_buckets_hold_every_row_once_in_batches_of_similar_length() -> None:
    lengths = [1 + (i * 37) % 50 for i in range(640)]
    batches = encoding.length_buckets(lengths, 16, seed=1, epoch=0)
    assert len(batches) == 40
    assert sorted(row for batch in batches for row in batch) == list(range(640))
    spread = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in batches]
    assert sum(spread) / len(spread) < 5


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = [i % 7 for i in range(100)]
    assert encoding.length_buckets(lengths, 8, 1, 0) == encoding.length_buckets(lengths, 8, 1, 0)
    orders = [encoding.length_buckets(lengths, 8, seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert len({str(order) for order in orders}) == 4


def test_batches_are_padded_to_a_multiple_of_16() -> None:
    data = encoding.Encoded(tuple((1,) * n for n in (3, 17, 30, 5)), (0, 1, 0, 1), pad_id=0)
    assert data.lengths == [3, 17, 30, 5]
    for rows in ([0, 1], [3, 2]):
        batch = data.batch(rows)
        assert batch.index.tolist() == rows
        assert batch.ids.shape[1] % 16 == 0
        assert batch.mask.sum(1).tolist() == [len(data.ids[row]) for row in batch.index.tolist()]
        assert torch.equal(batch.labels, torch.tensor([data.labels[row] for row in batch.index.tolist()]))
