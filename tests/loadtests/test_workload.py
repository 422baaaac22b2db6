"""The workload keeps its shares and never names a text what it is not."""

import random
from collections import Counter, deque
from collections.abc import Iterator

import pytest

from loadtests.workload import Kind, Shares, Workload

LABELS = {f"text {number}": f"label {number % 5}" for number in range(1000)}


def workload(labels: dict[str, str], repeat: float, paraphrase: float, fresh: int = 5000) -> Workload:
    """A workload with so many fresh texts beside the labelled ones."""
    others: Iterator[str] = (f"fresh {number}" for number in range(fresh))
    return Workload(labels, others, Shares(repeat, paraphrase), random.Random(7))


def answered_kinds(drawn: Workload, texts: int) -> "Counter[Kind]":
    """Draw so many texts, each answered before the next; how many were of each kind."""
    kinds: Counter[Kind] = Counter()
    for _ in range(texts):
        kind, text = drawn.next()
        drawn.answered(text)
        kinds[kind] += 1
    return kinds


def test_the_shares_are_kept_and_each_kind_is_true() -> None:
    drawn = workload(LABELS, repeat=0.5, paraphrase=0.2)
    answered: set[str] = set()
    under_way: deque[str] = deque()
    sent: set[str] = set()
    kinds: Counter[Kind] = Counter()
    for _ in range(4000):
        kind, text = drawn.next()
        kinds[kind] += 1
        assert (text in sent) == (kind == "repeat")
        if kind == "repeat":
            assert text in answered  # what is under way is in no cache
        if kind == "paraphrase":
            assert LABELS[text] in {LABELS.get(other) for other in answered}
        sent.add(text)
        under_way.append(text)
        if len(under_way) > 8:
            done = under_way.popleft()
            drawn.answered(done)
            answered.add(done)
    assert kinds["repeat"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert kinds["paraphrase"] / 4000 == pytest.approx(0.2, abs=0.03)


def test_without_paraphrases_no_label_is_needed() -> None:
    drawn = workload({}, repeat=0.4, paraphrase=0)
    kinds = answered_kinds(drawn, 2000)
    assert kinds["repeat"] / 2000 == pytest.approx(0.4, abs=0.03)
    assert kinds["paraphrase"] == 0


def test_labels_that_have_run_out_are_counted_as_what_came_instead() -> None:
    drawn = workload(dict(list(LABELS.items())[:50]), repeat=0, paraphrase=0.5)
    kinds = answered_kinds(drawn, 1000)
    assert kinds["paraphrase"] == 45  # of 50, the first of each of five labels was fresh
    assert kinds["fresh"] == 955


def test_an_exhausted_corpus_is_counted_as_repeats() -> None:
    drawn = workload({"one": "a", "two": "b"}, repeat=0, paraphrase=0, fresh=1)
    kinds = []
    for _ in range(5):
        kind, text = drawn.next()
        drawn.answered(text)
        kinds.append(kind)
    assert kinds == ["fresh", "fresh", "fresh", "repeat", "repeat"]


def test_the_latest_texts_are_repeated_most_often() -> None:
    drawn = workload({}, repeat=0, paraphrase=0)
    for _ in range(400):
        drawn.answered(drawn.next()[1])
    ranks = [int(drawn._zipf(drawn._answered).split()[1]) for _ in range(2000)]
    assert min(ranks) >= 200  # only of the last 200
    assert sum(rank >= 390 for rank in ranks) > 5 * sum(rank < 210 for rank in ranks)


@pytest.mark.parametrize(("repeat", "paraphrase"), [(-0.1, 0), (0.6, 0.5)])
def test_impossible_shares_are_refused(repeat: float, paraphrase: float) -> None:
    with pytest.raises(ValueError, match="shares must not"):
        Shares(repeat, paraphrase)
