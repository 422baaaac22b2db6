"""Tests of training/gate.py: tables."""

import pytest

from training import gate
from training.config import Gate
from training.errors import GateError
from training.gate import Entry


def chosen(entries: list[Entry], fp32: float, rules: Gate) -> str:
    """Judge, then choose."""
    return gate.choose(entries, gate.verdicts(entries, fp32, rules))


STATIC = Entry("static-qdq", 0.934, 0.0, 0.5)
DYNAMIC = Entry("dynamic-int8", 0.934, 0.008, 0.4)


@pytest.mark.parametrize(
    ("metric", "flips", "rules", "admitted"),
    [
        (0.937, 0.0, Gate(), True),
        (0.9321, 0.0, Gate(), True),
        (0.932, 0.0, Gate(), False),  # exactly half a point is not less than half a point
        (0.931, 0.0, Gate(), False),
        (0.931, 0.0, Gate(max_drop=0.01), True),
        (0.937, 0.0001, Gate(), False),
        (0.937, 0.5, Gate(allow_batch_variance=True), True),
        (0.931, 0.5, Gate(allow_batch_variance=True), False),
        (0.99, 0.0, Gate(), True),
    ],
)
def test_judgement(metric: float, flips: float, rules: Gate, *, admitted: bool) -> None:
    assert gate.judge(Entry("static-qdq", metric, flips, 1.0), 0.937, rules).admitted is admitted


def test_the_fastest_admitted_artefact_wins() -> None:
    assert chosen([STATIC, DYNAMIC], 0.937, Gate()) == "static-qdq"
    assert chosen([STATIC, DYNAMIC], 0.937, Gate(allow_batch_variance=True)) == "dynamic-int8"
    slow = Entry("dynamic-int8", 0.934, 0.008, 0.6)
    assert chosen([STATIC, slow], 0.937, Gate(allow_batch_variance=True)) == "static-qdq"


def test_a_refusal_says_what_missed_by_how_much() -> None:
    with pytest.raises(GateError) as caught:
        chosen([Entry("static-qdq", 0.92, 0.0, 0.5), DYNAMIC], 0.937, Gate())
    message = str(caught.value)
    assert "static-qdq loses 1.70 points" in message
    assert "allowed are less than 0.50: 1.20 too many" in message
    assert "dynamic-int8 0.80 % of the texts get another label" in message


def test_fp32_is_admissible_as_a_candidate() -> None:
    assert chosen([Entry("fp32", 0.937, 0.0, 1.6)], 0.937, Gate(max_drop=0.0)) == "fp32"


@pytest.mark.parametrize(
    ("metric", "flips", "reason"),
    [
        (0.934, 0.0, "loses 0.30 points"),
        (0.939, 0.0, "gains 0.20 points"),
        (0.937, 0.008, "loses 0.00 points, 0.80 % of labels flip in batches"),
    ],
)
def test_an_admission_says_what_it_costs(metric: float, flips: float, reason: str) -> None:
    rules = Gate(allow_batch_variance=True)
    assert gate.judge(Entry("dynamic-int8", metric, flips, 1.0), 0.937, rules).reason == reason
