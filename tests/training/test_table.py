"""Tests of training/table.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training import base, table
from training.config import Embedder
from training.encoding import Encoded, serving_tokenizer
from training.table import Words

WORDS = Words((2,), (3,), (0, 1, 2, 3, 4))
GOOD, BAD, FILM, IS = 14, 18, 7, 9


def texts() -> Encoded:
    """A film is good or bad; every word but one says nothing."""
    rows = [(2, FILM, IS, GOOD if number % 2 else BAD, 3) for number in range(200)]
    return Encoded(tuple(rows), tuple(number % 2 for number in range(200)), 0)


def logits(encoded: Encoded) -> torch.Tensor:
    return torch.tensor([[4.0, -4.0] if label == 0 else [-4.0, 4.0] for label in encoded.labels])


def cosine(vectors: table.Floats) -> float:
    return float(vectors[0] @ vectors[1])


def test_the_frame_and_the_special_ids_are_the_tokenizers(tiny_base: Path) -> None:
    tokenizer = base.load_tokenizer(tiny_base)
    words = Words.of(serving_tokenizer(tokenizer), tokenizer.all_special_ids)
    assert (words.before, words.after) == ((2,), (3,))
    assert set(words.special) == {0, 1, 2, 3, 4}


def test_the_table_is_read_off_the_encoder(tiny_base: Path) -> None:
    model = base.load_classifier(tiny_base, ("no", "yes"))
    found = table.read_off(model, WORDS, texts(), width=8)
    assert found.shape == (29, 8)
    assert not found[list(WORDS.special)].any()
    with torch.no_grad():
        states = [
            model.base_model(input_ids=torch.tensor([[2, token, 3]])).last_hidden_state[0, 1]  # type: ignore[operator]
            for token in (20, 21, 22)  # words that `texts` lacks: their weight is 1
        ]
    all_of_it = table.read_off(model, WORDS, texts(), width=32)
    ratios = [
        float((states[i] - states[j]).norm()) / float(np.linalg.norm(all_of_it[20 + i] - all_of_it[20 + j]))
        for i, j in ((0, 1), (1, 2), (0, 2))
    ]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-3)  # principal components of full width keep distances


def test_frequent_tokens_weigh_less(tiny_base: Path) -> None:
    model = base.load_classifier(tiny_base, ("no", "yes"))
    rare = Encoded(((2, FILM, 3),), (0,), 0)
    often = table.read_off(model, WORDS, texts(), width=32)
    seldom = table.read_off(model, WORDS, rare, width=32)

    def weight_of_film(found: table.Floats, unseen: int = 20) -> float:
        return float(np.linalg.norm(found[FILM]) / np.linalg.norm(found[unseen]))

    assert weight_of_film(seldom) < weight_of_film(often)


def test_training_moves_texts_with_other_answers_apart() -> None:
    start = np.random.default_rng(0).normal(size=(29, 8)).astype(np.float32)
    start[list(WORDS.special)] = 0
    start[GOOD] = start[BAD] + 0.1
    rows = [(FILM, IS, GOOD), (FILM, IS, BAD)]
    fitted = table.fit(start, WORDS, texts(), logits(texts()), epochs=100, seed=1)
    before, after = (1 - cosine(table.embed(vectors, rows)) for vectors in (start, fitted))
    assert after > 3 * before
    assert np.array_equal(fitted[20], start[20])  # a word that no text holds
    assert not fitted[list(WORDS.special)].any()


def test_the_same_seed_gives_the_same_table(tiny_base: Path) -> None:
    model = base.load_classifier(tiny_base, ("no", "yes"))
    one, same = (table.distil(Embedder(8, 2), model, WORDS, texts(), logits(texts()), seed=3) for _ in range(2))
    assert one.dtype == np.int8
    assert np.array_equal(one, same)


def test_int8_keeps_directions_and_needs_no_scale() -> None:
    exact = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32) * 1e-3
    rounded = table.quantise(exact)
    assert np.abs(rounded).max() == 127
    rows = [(1, 2, 3), (4,), (5, 6)]
    assert (table.embed(exact, rows) * table.embed(rounded, rows)).sum(axis=1).min() > 0.999


def test_a_text_of_special_tokens_has_no_vector() -> None:
    found = table.embed(np.zeros((5, 2), dtype=np.int8), [(2, 3), (1,)])
    assert found.tolist() == [[0, 0], [0, 0]]


def test_the_file_is_the_values_row_by_row(tmp_path: Path) -> None:
    path = table.save(np.array([[1, -2], [3, 4]], dtype=np.int8), tmp_path / "t")
    assert path.read_bytes() == bytes([1, 254, 3, 4])
