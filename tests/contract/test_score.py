"""The score of a semantic hit: the gateway's and the replay's of training, which are strangers, say the same."""

import numpy as np

from gateway.cache import plan, score
from training import replay

ANSWERS = 5


def test_the_formula_and_the_grid_are_one() -> None:
    assert (replay.SCORE, replay.NEIGHBOURS) == (score.FORMULA, score.K)
    assert plan.Plan().thresholds == replay.THRESHOLDS
    assert plan.Plan().delta == replay.DELTA


def test_they_score_and_start_alike() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(ANSWERS, 16))
    truths = random.integers(0, ANSWERS, 300)
    vectors = (centres[truths] + random.normal(size=(300, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = replay.replay(vectors, truths)
    told = []
    for request in range(1, len(vectors)):
        similarities = vectors[:request] @ vectors[request]
        neighbours = [
            score.Neighbour(float(similarity), str(truths[index])) for index, similarity in enumerate(similarities)
        ]
        answer = score.answer(neighbours)
        assert answer is not None
        assert abs(found.scores[request] - answer.score) < 1e-5
        assert found.wrong[request] == (answer.label != str(truths[request]))
        told.append((float(found.scores[request]), bool(found.wrong[request])))
    assert 0 < sum(wrong for _, wrong in told) < len(told)
    assert found.start_threshold() == plan.start_threshold(told)
