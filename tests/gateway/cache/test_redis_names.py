"""Names in Redis: no two scopes share one, and people can read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.redis_names import Names, decode, encode
from gateway.cache.scope import Scope

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PLACES = st.tuples(st.sampled_from([A, B]), st.text(alphabet="a:0/%", max_size=4), st.integers(0, 20))


@given(one=PLACES, other=PLACES, keys=st.tuples(st.binary(max_size=3), st.binary(max_size=3)))
def test_no_two_places_share_a_name(
    one: tuple[str, str, int], other: tuple[str, str, int], keys: tuple[bytes, bytes]
) -> None:
    first, second = (Names.of(Scope("m", digest, tenant), epoch) for digest, tenant, epoch in (one, other))
    assert (first.vectors == second.vectors) == (one == other)
    assert (first.exact(keys[0]) == second.exact(keys[1])) == (one == other and keys[0] == keys[1])


def test_the_names() -> None:
    names = Names.of(Scope("m", A, "team one"), 255)
    assert names.vectors == b"retort:cache:v:" + b"a" * 32 + b":team%20one:ff"
    assert names.exact(b"\x00k") == b"retort:cache:x:" + b"a" * 32 + b":team%20one:ff:\x00k"


@given(st.builds(Scope, st.text(), st.text(), st.text()))
def test_a_scope_survives_redis(scope: Scope) -> None:
    assert decode(encode(scope)) == scope


@pytest.mark.parametrize("member", [b"", b"[]", b"[1,2,3]", b"{}", b"\xff", b"7"])
def test_what_is_no_scope_is_refused(member: bytes) -> None:
    assert decode(member) is None
