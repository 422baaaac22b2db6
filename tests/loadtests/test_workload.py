"""The workload keeps its shares and never names a text what it is not."""

import random

import pytest

from loadtests.workload import Shares, Workload

LABELS = {f"text {number}": f"label {number % 5}" for number in range(2000)}


def test_the_shares_are_kept_and_each_kind_is_true() -> None:
    workload = Workload(LABELS, Shares(repeat=0.5, paraphrase=0.2), random.Random(7))
    seen: set[str] = set()
    for _ in range(2000):
        kind, text = workload.next()
        assert (text in seen) == (kind == "repeat")
        if kind == "paraphrase":
            assert LABELS[text] in {LABELS[sent] for sent in seen}
        seen.add(text)
    assert workload.sent["repeat"] / 2000 == pytest.approx(0.5, abs=0.05)
    assert workload.sent["paraphrase"] / 2000 == pytest.approx(0.2, abs=0.05)


def test_an_exhausted_corpus_is_counted_as_repeats() -> None:
    workload = Workload({"one": "a", "two": "b"}, Shares(repeat=0, paraphrase=0), random.Random(7))
    assert [workload.next()[0] for _ in range(4)] == ["fresh", "fresh", "repeat", "repeat"]


@pytest.mark.parametrize(("repeat", "paraphrase"), [(-0.1, 0), (0.6, 0.5)])
def test_impossible_shares_are_refused(repeat: float, paraphrase: float) -> None:
    with pytest.raises(ValueError, match="shares must not"):
        Shares(repeat, paraphrase)
