"""A look-up's commands and answers: one question, and nothing that Redis says can be an error."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from gateway.cache.entry import pack
from gateway.cache.redis_lookup import MAX_SEARCHES, Lookup
from gateway.cache.redis_names import Names
from gateway.cache.scope import Scope
from gateway.cache.store import NOTHING, Found, Neighbour, Query
from tests.gateway.cache.stores import SCOPE, entry, key, vector

NAMES = Names.of(SCOPE, 0)
QUERY = Query(key(1), vector(1))


def lookup(*queries: Query, version: tuple[int, ...] | None = (8, 2), malformed: list[str] | None = None) -> Lookup:
    """A look-up in the scope of the tests."""
    return Lookup.of(SCOPE, NAMES, queries, version, (malformed if malformed is not None else []).append)


def value(seed: int, scope: Scope = SCOPE, at: int | None = None) -> bytes:
    """A value as it is in Redis."""
    return pack(entry(seed), scope.place(key(seed if at is None else at)))


def test_everything_is_asked_at_once_and_only_so_many_searches() -> None:
    queries = [Query(key(seed), vector(seed)) for seed in range(MAX_SEARCHES + 5)]
    commands = lookup(Query(key(99)), Query(key(98), np.zeros(32, np.float32)), *queries).commands()
    assert len(commands[0]) == 1 + 2 + len(queries)
    assert [command[0] for command in commands] == ["MGET"] + ["VSIM"] * MAX_SEARCHES
    assert commands[1][3] == vector(0).tobytes()


def test_no_vector_sets_no_search() -> None:
    assert [command[0] for command in lookup(QUERY, version=None).commands()] == ["MGET"]


def test_answers_with_attributes() -> None:
    found = lookup(Query(key(5)), QUERY).found([[value(5), None], [key(2), b"0.9", value(2), key(3), b"0.5", value(3)]])
    assert found == [Found(exact=entry(5)), Found(neighbours=(Neighbour(0.8, entry(2)), Neighbour(0.0, entry(3))))]


def test_an_old_redis_is_asked_once_more() -> None:
    one = lookup(QUERY, version=(8, 0))
    assert "WITHATTRIBS" not in one.commands()[1]
    answers: list[Any] = [[None], [key(2), b"0.9", key(3), b"0.5"]]
    assert one.attribute_commands(answers) == [("VGETATTR", NAMES.vectors, key(seed)) for seed in (2, 3)]
    found = one.found(one.with_values(answers, [value(2), value(3)]))
    assert [neighbour.entry for neighbour in found[0].neighbours] == [entry(2), entry(3)]
    assert lookup(QUERY).attribute_commands(answers) == []


def test_entries_from_elsewhere_are_refused_and_counted() -> None:
    malformed: list[str] = []
    other = Scope("tiny", SCOPE.digest, "bob")
    one = lookup(QUERY, malformed=malformed)
    foreign = [key(2), b"0.9", value(2, other), key(3), b"0.9", value(2), key(4), b"0.9", None]
    without_score = [key(6), b"nan", value(6), key(7), None, value(7)]
    found = one.found([[value(1, other)], [*foreign, *without_score, key(5), b"0.9", value(5)]])
    assert found == [Found(neighbours=(Neighbour(0.8, entry(5)),))]
    assert malformed == ["semantic"] * 5 + ["redis"]


ANYTHING = st.recursive(
    st.none() | st.integers() | st.binary(max_size=20) | st.builds(ResponseError) | st.sampled_from([b"0.9", b"nan"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)


@given(exact=ANYTHING, search=ANYTHING, old=st.booleans(), more=ANYTHING)
def test_whatever_redis_says_is_nothing_found(exact: Any, search: Any, more: Any, *, old: bool) -> None:
    one = lookup(QUERY, version=(8, 0) if old else (8, 2))
    answers = [exact, search]
    if commands := one.attribute_commands(answers):
        answers = one.with_values(answers, [more] * len(commands))
    assert one.found(answers) == [NOTHING]
