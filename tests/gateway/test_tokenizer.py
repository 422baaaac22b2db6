"""The tokenizer: order, truncation, pairs, and long work off the loop."""

import asyncio
import threading

import pytest

from gateway.errors import VersionRejectedError
from gateway.tokenizer import OFF_LOOP_CHARS, Text, Tokenizer, Tokens
from tests.tiny_model import WORDS, tiny_tokenizer

JSON = tiny_tokenizer().to_str().encode()


def ids(*words: str) -> list[int]:
    """Ids of words of the tiny vocabulary, with the frame around them."""
    return [WORDS.index(word) for word in ("[CLS]", *words, "[SEP]")]


async def test_many_texts_give_what_each_gives_alone() -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    texts: list[Text] = ["A good film", "very very BAD", "the", "zebra"]
    together = await tokenizer.encode(texts)
    assert [row.ids for row in together] == [
        *(ids("a", "good", "film"), ids("very", "very", "bad"), ids("the"), ids("[UNK]")),
    ]
    assert together == [(await tokenizer.encode([text]))[0] for text in texts]


async def test_truncates_to_max_length_with_special_tokens_included() -> None:
    tokenizer = Tokenizer(JSON, max_length=4, pair=False)
    assert [row.ids for row in await tokenizer.encode(["good good bad", "good " * 9])] == [
        *(ids("good", "good"), ids("good", "good")),
    ]
    assert len(Tokens([1, 2, 3], None)) == 3


async def test_pairs_carry_type_ids() -> None:
    (row,) = await Tokenizer(JSON, max_length=32, pair=True).encode([("good", "bad film")])
    assert row.type_ids is not None
    assert len(row.type_ids) == len(row.ids)
    assert sorted(set(row.type_ids)) == [0, 1]


async def test_long_texts_leave_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    threads: list[threading.Thread] = []
    inner = tokenizer.encode_now

    def spy(texts: list[Text]) -> list[Tokens]:
        threads.append(threading.current_thread())
        return inner(texts)

    monkeypatch.setattr(tokenizer, "encode_now", spy)
    await tokenizer.encode(["good"])
    await tokenizer.encode(["good " * OFF_LOOP_CHARS])
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_file_that_is_no_tokenizer_rejects_the_version(content: bytes) -> None:
    with pytest.raises(VersionRejectedError, match=r"tokenizer\.json cannot be used"):
        Tokenizer(content, max_length=8, pair=False)
