"""Tests of training/replay.py."""

import math
from itertools import pairwise

import numpy as np
import pytest

from training.replay import Floats, Found, Replay, nearest, replay

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def stream(*vectors: list[float]) -> Floats:
    return np.array(vectors, dtype=np.float32)


@pytest.mark.parametrize(
    ("similarities", "answers", "score"),
    [
        ([0.5], [1], 2 * 0.5 - 0.5 + 0.1),  # no rival: the last neighbour stands in
        ([0.4, 0.9], [1, 1], 2 * 0.9 - 0.4 + 0.2),
        ([0.4, 0.9, 0.6], [1, 1, 2], 2 * 0.9 - 0.6 + 0.2),
        ([0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], [2, *[1] * 8], 2 * 0.9 - 0.2 + 0.8),  # the ninth says nothing
    ],
)
def test_the_score_is_margin_and_votes(similarities: list[float], answers: list[int], score: float) -> None:
    found = nearest(np.array(similarities, dtype=np.float32), answers, truth=7)
    assert (found.answer, found.truth) == (1, 7)
    assert found.score == pytest.approx(score)


def test_a_text_is_looked_up_among_earlier_ones_only() -> None:
    found = replay(stream(EAST, NORTH, EAST, EAST), np.array([0, 1, 0, 1]))
    assert found.scores[0] == -math.inf
    assert found.scores[1] == pytest.approx(0.1)
    assert found.wrong.tolist() == [False, True, False, True]


def test_a_text_without_vector_is_neither_looked_up_nor_stored() -> None:
    found = replay(stream([0.0, 0.0], EAST, [0.0, 0.0]), np.array([0, 0, 0]))
    assert found.scores.tolist() == [-math.inf] * 3


def test_what_is_not_stored_answers_nobody() -> None:
    asked: list[Found] = []

    def stores(found: Found) -> bool:
        asked.append(found)
        return False

    found = replay(stream(EAST, NORTH, NORTH), np.array([0, 1, 1]), stores)
    assert found.scores[1:].tolist() == pytest.approx(
        [0.1, 0.1]
    )  # the first text, without neighbours, is the only entry
    assert [(one.answer, one.truth) for one in asked] == [(0, 1), (0, 1)]


def test_a_stream_longer_than_a_block_is_one_stream() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(600, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truths = generator.integers(0, 3, 600)
    found = replay(vectors, truths)
    for text in (1, 255, 256, 257, 599):
        alone = nearest(vectors[:text] @ vectors[text], truths[:text], int(truths[text]))
        assert found.scores[text] == pytest.approx(alone.score, abs=1e-5)
        assert found.wrong[text] == (alone.answer != alone.truth)


def test_the_best_threshold_answers_most_within_its_errors() -> None:
    found = Replay(np.array([1.9, 1.8, 1.8, 1.7, 1.6, -math.inf]), np.array([0, 1, 0, 0, 1, 0], dtype=bool))
    best = found.best(0.25)
    assert (best.threshold, best.wrong) == (1.7, 0.25)
    assert best.share == pytest.approx(4 / 6)
    assert found.best(0.24).threshold == 1.9  # both of 1.8 or neither
    assert found.best(1.0).share == pytest.approx(5 / 6)
    thresholds, _, _ = found.curve()
    assert all(high > low for high, low in pairwise(thresholds))


def test_a_stream_of_errors_has_no_threshold() -> None:
    found = Replay(np.array([1.9, 1.3]), np.array([True, True]))
    assert (found.best(0.01).threshold, found.best(0.01).share) == (None, 0.0)
    assert found.start_threshold() is None
    assert Replay(np.array([]), np.array([], dtype=bool)).best(0.01).threshold is None


@pytest.mark.parametrize(("score", "start"), [(1.62, 1.65), (2.04, 2.0), (1.99, 2.0)])
def test_the_start_is_one_step_above_the_largest_good_region(score: float, start: float) -> None:
    scores = np.array([score] * 200 + [score - 0.06] * 200)
    wrong = np.array([True] + [False] * 199 + [True] * 200)  # half a percent is still good
    assert Replay(scores, wrong).start_threshold() == start
    assert Replay(scores, wrong).start_threshold(delta=0.0099) is None
