"""The plan: the connections where one number has to do."""

import pytest

from retort_cli.bench.plan import Plan


@pytest.mark.parametrize(
    ("connections", "busy"), [((1, 8, 32, 128), 32), ((1, 8), 8), ((64, 128), 64), ((1, 31, 33), 31)]
)
def test_busy_is_32_or_the_nearest_below(connections: tuple[int, ...], busy: int) -> None:
    assert Plan(1, 1, 1, connections, 1, 1, 0).busy == busy
