"""The ladder's arithmetic: each step over the one below, the whole over the lowest."""

import pytest

from retort_cli.bench.ladder import climb
from retort_cli.bench.load import Load, Row, summarise


def row(name: str, rps: int) -> Row:
    return summarise(name, [Load("d", "c", 32, 1.0, rps, 0, 1, 1, 1)])


def test_gains_multiply_to_the_product() -> None:
    found = climb([row("first", 100), row("batched", 150), row("async", 300), row("int8", 600)], "as served", "a note")
    assert [rung.gain for rung in found.rungs] == [1.0, 1.5, 2.0, 2.0]
    assert found.product == pytest.approx(6.0)
    assert [rung.row.name for rung in found.rungs] == ["first", "batched", "async", "int8"]
    assert (found.base, found.note) == ("as served", "a note")


def test_a_lowest_rung_without_an_answer_gives_no_gain() -> None:
    found = climb([row("first", 0), row("batched", 150)], "as served")
    assert (found.product, found.rungs[1].gain) == (0.0, 0.0)
