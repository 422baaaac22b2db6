"""A replay: what a semantic cache would have answered on a stream of texts, in order. Needs numpy alone.

The score of a neighbour's answer is the gateway's (gateway/cache/score.py); tests/contract compares the two.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 8
VOTE = 0.1
SCORE = f"2*s1-s2+{VOTE}*votes of {NEIGHBOURS}"
THRESHOLDS = tuple(round(2.0 - 0.05 * step, 2) for step in range(16))
DELTA = 0.01
BLOCK = 256

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What the neighbours would answer to a request, their score, and what the model answers."""

    answer: int
    score: float
    truth: int


@dataclass(frozen=True)
class Best:
    """The most that a fixed threshold gives: share of all requests, share of those that is wrong."""

    threshold: float | None
    share: float
    wrong: float


@dataclass(frozen=True)
class Replay:
    """Requests in order: `scores` (-inf: no neighbour), whether the neighbours were `wrong`."""

    scores: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.bool_]

    def curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return thresholds, falling; the share of requests that each would answer; the share of these wrong."""
        order = np.argsort(-self.scores, kind="stable")
        scores = self.scores[order]
        answered = np.arange(1, len(scores) + 1)
        errors = np.cumsum(self.wrong[order])
        following = np.append(scores[1:], -math.inf)  # equal scores are answered together; without neighbours, never
        ends = np.flatnonzero(np.not_equal(following, scores))
        return scores[ends], answered[ends] / len(scores), errors[ends] / answered[ends]

    def best(self, most_wrong: float) -> Best:
        """Return the threshold that, in hindsight, answers most with at most that share wrong."""
        thresholds, shares, wrong = self.curve()
        good = np.flatnonzero(wrong <= most_wrong)
        if not len(good):
            return Best(None, 0.0, 0.0)
        return Best(float(thresholds[good[-1]]), float(shares[good[-1]]), float(wrong[good[-1]]))

    def start_threshold(self, delta: float = DELTA) -> float | None:
        """Return where to expect the proof: one step above the largest region with at most delta / 2 wrong."""
        good = []
        for step, threshold in enumerate(THRESHOLDS):
            inside = np.flatnonzero(self.scores >= threshold)
            if len(inside) and self.wrong[inside].mean() <= delta / 2:
                good.append(step)
        return THRESHOLDS[max(good[-1] - 1, 0)] if good else None


def replay(vectors: Floats, truths: Ints, stores: Callable[[Found], bool] = lambda _: True) -> Replay:
    """Look up every text among the stored earlier ones by brute force.

    `vectors` [texts, width] of length 1, or 0 for a text that is neither looked up nor stored; `truths` [texts] are the
    model's answers. `stores` says whether a request with neighbours becomes an entry; one without always does.
    """
    scores = np.full(len(vectors), -math.inf)
    wrong = np.zeros(len(vectors), dtype=bool)
    stored = np.zeros(len(vectors), dtype=bool)
    embedded = np.linalg.norm(vectors, axis=1) > 0
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors[: start + BLOCK].T
        for text, similarities in enumerate(block, start):
            if not embedded[text]:
                continue
            entries = np.flatnonzero(stored[:text])
            found = nearest(similarities[entries], truths[entries], int(truths[text])) if len(entries) else None
            if found is not None:
                scores[text], wrong[text] = found.score, found.answer != found.truth
            stored[text] = found is None or stores(found)
    return Replay(scores, wrong)


def nearest(similarities: Floats, answers: Sequence[int] | Ints, truth: int) -> Found:
    """Return what the nearest entries answer: twice the best similarity, less the best of another label, and votes."""
    near = np.arange(len(similarities))
    if len(near) > NEIGHBOURS:
        near = np.argpartition(-similarities, NEIGHBOURS - 1)[:NEIGHBOURS]
    near = near[np.argsort(-similarities[near], kind="stable")]
    best, labels = similarities[near].astype(np.float64), np.asarray(answers)[near]
    others = np.flatnonzero(labels != labels[0])
    rival = best[others[0]] if len(others) else best[-1]
    return Found(int(labels[0]), float(2 * best[0] - rival + VOTE * (len(labels) - len(others))), truth)
