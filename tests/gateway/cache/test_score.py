"""The score of the neighbours."""

import math

import pytest

from gateway.cache.score import K, Neighbour, answer


def neighbours(*pairs: tuple[float, str]) -> list[Neighbour]:
    return [Neighbour(similarity, label) for similarity, label in pairs]


@pytest.mark.parametrize(
    ("near", "label", "score"),
    [
        # Five of eight agree, the nearest other label is at .7.
        (
            [(0.9, "a"), (0.8, "a"), (0.7, "b"), (0.6, "a"), (0.5, "a"), (0.4, "c"), (0.3, "a"), (0.2, "b")],
            "a",
            2 * 0.9 - 0.7 + 0.5,
        ),
        # No other label: the eighth stands for it.
        ([(0.9 - i / 100, "a") for i in range(8)], "a", 2 * 0.9 - 0.83 + 0.8),
        # Fewer than eight: fewer votes.
        ([(0.9, "a"), (0.6, "b"), (0.5, "a")], "a", 2 * 0.9 - 0.6 + 0.2),
        ([(0.9, "a")], "a", 0.9 + 0.1),
        # The rival is as near as the best.
        ([(1.0, "a"), (1.0, "b")], "a", 1.0 + 0.1),
    ],
)
def test_margin_and_votes(near: list[tuple[float, str]], label: str, score: float) -> None:
    found = answer(neighbours(*near))
    assert found is not None
    assert found.label == label
    assert found.score == pytest.approx(score)
    assert answer(neighbours(*reversed(near[1:]), near[0])) == found or near[0][0] == near[1][0]  # any order


def test_nobody_near() -> None:
    assert answer([]) is None


def test_only_the_nearest_eight_vote() -> None:
    near = neighbours(*[(0.9, "a")] * K)
    assert answer([*near, *neighbours(*[(0.1, "a"), (0.8, "b")])]) == answer(near)


def test_a_similarity_that_is_no_number_reaches_no_threshold() -> None:
    found = answer(neighbours((math.nan, "a"), (0.9, "b")))
    assert found is not None
    assert not found.score >= 0
