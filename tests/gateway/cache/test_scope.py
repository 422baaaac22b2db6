"""Scopes: names that cannot be mistaken, selections that cover what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.scope import Scope, Selection

TEXT = st.text(alphabet="a:1\0é", max_size=4)


@given(one=st.tuples(TEXT, TEXT, st.binary(max_size=3)), other=st.tuples(TEXT, TEXT, st.binary(max_size=3)))
def test_different_places_have_different_names(one: tuple[str, str, bytes], other: tuple[str, str, bytes]) -> None:
    places = [Scope("m", digest, tenant).place(key) for digest, tenant, key in (one, other)]
    assert (places[0] == places[1]) == (one == other)


@pytest.mark.parametrize(
    ("selection", "covers"),
    [
        (Selection(), True),
        (Selection("m", "d", "t"), True),
        (Selection(key=b"k"), True),
        (Selection(model="x"), False),
        (Selection(digest="x"), False),
        (Selection(tenant=""), False),
        (Selection("m", "x", "t"), False),
    ],
)
def test_what_a_selection_covers(selection: Selection, *, covers: bool) -> None:
    assert selection.covers(Scope("m", "d", "t")) == covers
