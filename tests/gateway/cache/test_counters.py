"""Counters add up in any order and survive a Redis hash; generations forget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.counters import Counters, Generations

names = st.sampled_from(["0", "1", "2", "a", "b:c", "", "n:1"])
draws = st.lists(st.tuples(st.integers(0, 2), st.booleans(), names), max_size=30)


def counted(of: list[tuple[int, bool, str]]) -> Counters:
    """Return the counters of draws: a bin, whether it was wrong, a class."""
    total = Counters.empty(3)
    for first, wrong, label in of:
        n = tuple(int(i == first) for i in range(3))
        total += Counters(n, n if wrong else (0, 0, 0), {label: 1}, {label: int(wrong)})
    return total


counters = draws.map(counted)


@given(st.lists(counters, min_size=1), st.randoms())
def test_only_the_sums_matter(parts: list[Counters], random: object) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sum(parts, Counters.empty(3)) == sum(shuffled, Counters.empty(3))


@given(counters)
def test_a_redis_hash_gives_back_what_it_was_given(one: Counters) -> None:
    assert Counters.parse({name: str(count) for name, count in one.fields().items()}, bins=3) == one


def test_the_fields_of_the_hash() -> None:
    assert Counters((0, 1), (0, 1), {"card:lost": 1}, {"card:lost": 1}).fields() == {
        "n:1": 1,
        "k:1": 1,
        "cn:card:lost": 1,
        "ck:card:lost": 1,
    }
    assert Counters.empty(2).fields() == {}


@pytest.mark.parametrize(
    "field", [("n:3", "1"), ("n:-1", "1"), ("x:0", "1"), ("n", "1"), ("n:0", "-1"), ("n:0", "1.5")]
)
def test_garbage_is_no_evidence(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"counts no draws|invalid literal"):
        Counters.parse(dict([field]), bins=3)


def test_generations() -> None:
    one, two, three = (Counters((i,), (0,)) for i in (1, 10, 100))
    generations = Generations.empty(1).plus(one).rotated().plus(two)
    assert generations.window == Counters((11,), (0,))
    assert generations.rotated().plus(three).window == Counters((110,), (0,))  # `one` is forgotten
