"""Tests of services/gateway/cache/keys.py."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.keys import exact_key
from gateway.serving.tokenizer import Tokenizer
from tests.tiny_model import tiny_tokenizer

IDS = st.lists(st.integers(0, 40_000), max_size=6)
CALLS = st.tuples(st.text(max_size=4), st.text(max_size=4), IDS, st.none() | IDS)


@given(CALLS, CALLS)
def test_different_calls_have_different_keys(
    one: tuple[str, str, list[int], list[int] | None], other: tuple[str, str, list[int], list[int] | None]
) -> None:
    assert (exact_key(*one) == exact_key(*other)) == (one == other)


def test_parts_cannot_move_into_each_other() -> None:
    keys = {
        exact_key("d", "t", [1, 2]),
        exact_key("dt", "", [1, 2]),
        exact_key("", "dt", [1, 2]),
        exact_key("d", "t", [12]),
        exact_key("d", "t", [2, 1]),
        exact_key("d", "t", [1, 2], []),
        exact_key("d", "t", [1], [2]),
        exact_key("d", "t", [1, 2], [0, 0]),
        exact_key("d", "t", [1, 2], [0, 1]),
    }
    assert len(keys) == 9


async def test_texts_that_tokenise_alike_share_a_key() -> None:
    tokenizer = Tokenizer(tiny_tokenizer().to_str().encode(), max_length=6, pair=False)
    texts = ["the film is good", "  The FILM is   good", "the film is good very very", "the film is bad"]
    first, spaced, cut, other = (exact_key("d", "t", found.ids) for found in await tokenizer.encode(texts, 1e9))
    assert first == spaced == cut
    assert first != other
