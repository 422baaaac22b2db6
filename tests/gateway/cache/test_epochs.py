"""Epochs: the latest selection that covers a scope counts, and tables merge in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.epochs import MAX_REMEMBERED, Epochs, decode, encode
from gateway.cache.scope import Scope, Selection

NAMES = st.none() | st.sampled_from(["a", "b"])
SELECTIONS = st.builds(Selection, NAMES, NAMES, NAMES)
SCOPES = st.builds(Scope, *[st.sampled_from(["a", "b"])] * 3)
TABLES = st.dictionaries(SELECTIONS, st.integers(1, 100))


@given(table=TABLES, scope=SCOPES)
def test_the_latest_covering_selection_is_the_epoch(table: dict[Selection, int], scope: Scope) -> None:
    epochs = Epochs()
    epochs.merge(table)
    assert epochs.of(scope) == max((epoch for selection, epoch in table.items() if selection.covers(scope)), default=0)


@given(one=TABLES, other=TABLES, scope=SCOPES)
def test_gateways_agree_whatever_they_heard_first(
    one: dict[Selection, int], other: dict[Selection, int], scope: Scope
) -> None:
    first, second = Epochs(), Epochs()
    for epochs, tables in ((first, (one, other, one)), (second, (other, one))):
        for table in tables:
            epochs.of(scope)  # what is remembered must not outlive the table
            epochs.merge(table)
    assert first.of(scope) == second.of(scope)
    assert first.latest == second.latest == max([*one.values(), *other.values()], default=0)


def test_merging_tells_what_is_new_and_lacking_what_the_other_lost() -> None:
    epochs = Epochs()
    assert epochs.merge({Selection("m"): 5, Selection(tenant="t"): 7}) == [Selection("m"), Selection(tenant="t")]
    assert epochs.merge({Selection("m"): 4, Selection(tenant="t"): 8}) == [Selection(tenant="t")]
    assert epochs.lacking({Selection("m"): 5}) == {Selection(tenant="t"): 8}
    assert epochs.lacking({}) == {Selection("m"): 5, Selection(tenant="t"): 8}
    assert len(epochs) == 2


def test_what_is_remembered_is_bounded() -> None:
    epochs = Epochs()
    for number in range(MAX_REMEMBERED + 10):
        epochs.of(Scope("m", "d", str(number)))
    assert len(epochs._of) <= MAX_REMEMBERED


@given(
    st.builds(Selection, st.none() | st.text(), st.none() | st.text(), st.none() | st.text(), st.none() | st.binary())
)
def test_a_selection_survives_redis(selection: Selection) -> None:
    assert decode(encode(selection)) == selection


@pytest.mark.parametrize("member", [b"", b"[]", b"{}", b"[1,2,3,4]", b'["a","b","c","xyz"]', b"\xff", b"null", None, 7])
def test_what_is_no_selection_is_refused(member: object) -> None:
    assert decode(member) is None
