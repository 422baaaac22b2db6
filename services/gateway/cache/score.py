"""The score of a semantic hit: how much the nearest earlier texts agree on one answer."""

from collections.abc import Sequence
from dataclasses import dataclass

K = 8  # neighbours asked for
VOTE = 0.1
# Names the formula in the evidence that was gathered with it: another formula needs new evidence.
FORMULA = f"2*s1-s2+{VOTE}*votes of {K}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An earlier text's similarity (at most 1) and the label that the model gave it."""

    similarity: float
    label: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the neighbours would answer, and their score."""

    label: str
    score: float


# One similarity is a poor score, and with a general table it is bad at the very top. The margin to the nearest other
# label and the votes double to fivefold the hits that a threshold can give at 1 % wrong (docs/decisions.md).
def answer(neighbours: Sequence[Neighbour]) -> Answer | None:
    """Return the label of the nearest of at most `K` neighbours and its score; None where there is no neighbour."""
    nearest = sorted(neighbours, key=lambda neighbour: -neighbour.similarity)[:K]
    if not nearest:
        return None
    best = nearest[0]
    votes = sum(neighbour.label == best.label for neighbour in nearest)
    rival = next((neighbour for neighbour in nearest if neighbour.label != best.label), nearest[-1])
    return Answer(best.label, 2 * best.similarity - rival.similarity + VOTE * votes)
