"""The tokenizer: order, truncation, pairs, and long work off the loop."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import Encoding

from gateway.errors import DeadlineExceededError, VersionRejectedError
from gateway.serving.tokenizer import OFF_LOOP_CHARS, Text, Tokenizer, Tokens
from tests.gateway.serving.test_batcher import soon_s
from tests.tiny_model import WORDS, tiny_tokenizer

JSON = tiny_tokenizer().to_str().encode()


def ids(*words: str) -> list[int]:
    """Ids of words of the tiny vocabulary, with the frame around them."""
    return [WORDS.index(word) for word in ("[CLS]", *words, "[SEP]")]


async def test_many_texts_give_what_each_gives_alone() -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    texts: list[Text] = ["A good film", "very very BAD", "the", "zebra"]
    together = await tokenizer.encode(texts, soon_s())
    assert [row.ids for row in together] == [
        *(ids("a", "good", "film"), ids("very", "very", "bad"), ids("the"), ids("[UNK]")),
    ]
    assert together == [(await tokenizer.encode([text], soon_s()))[0] for text in texts]


async def test_truncates_to_max_length_with_special_tokens_included() -> None:
    tokenizer = Tokenizer(JSON, max_length=4, pair=False)
    assert [row.ids for row in await tokenizer.encode(["good good bad", "good " * 9], soon_s())] == [
        *(ids("good", "good"), ids("good", "good")),
    ]
    assert len(Tokens([1, 2, 3], None)) == 3


async def test_pairs_carry_type_ids() -> None:
    (row,) = await Tokenizer(JSON, max_length=32, pair=True).encode([("good", "bad film")], soon_s())
    assert row.type_ids is not None
    assert len(row.type_ids) == len(row.ids)
    assert sorted(set(row.type_ids)) == [0, 1]


class Spy:
    """Notes which way of encoding ran on which thread; one off the loop waits for `gate`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._inner, self.ways, self.gate = tokenizer._tokenizer, list[tuple[str, bool]](), threading.Event()

    def encode(self, text: str) -> Encoding:
        """Encode one."""
        self.ways.append(("encode", threading.current_thread() is threading.main_thread()))
        return self._inner.encode(text)

    def encode_batch_fast(self, texts: list[Text]) -> list[Encoding]:
        """Encode many."""
        on_loop = threading.current_thread() is threading.main_thread()
        self.ways.append(("encode_batch_fast", on_loop))
        assert on_loop or self.gate.wait(5)
        return list(self._inner.encode_batch_fast(texts))


async def test_long_texts_leave_the_loop_and_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    spy = Spy(tokenizer)
    spy.gate.set()
    monkeypatch.setattr(tokenizer, "_tokenizer", spy)
    await tokenizer.encode(["good"], soon_s())
    await tokenizer.encode(["good", "bad"], soon_s())
    (row,) = await tokenizer.encode(["good " * OFF_LOOP_CHARS], soon_s())
    assert row.ids == ids(*["good"] * 30)
    assert spy.ways == [("encode", True), ("encode_batch_fast", True), ("encode_batch_fast", False)]


async def test_long_texts_and_the_loops_own_threads_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    spy = Spy(tokenizer)
    monkeypatch.setattr(tokenizer, "_tokenizer", spy)
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        long = [asyncio.create_task(tokenizer.encode(["good " * OFF_LOOP_CHARS], soon_s())) for _ in range(9)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "read"), 2) == "read"
        spy.gate.set()
        await asyncio.gather(*long)


async def test_nobody_waits_for_long_work_past_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(JSON, max_length=32, pair=False)
    spy = Spy(tokenizer)
    monkeypatch.setattr(tokenizer, "_tokenizer", spy)
    with pytest.raises(DeadlineExceededError, match="before the text was tokenized"):
        await tokenizer.encode(["good " * OFF_LOOP_CHARS], time.monotonic() + 0.05)
    spy.gate.set()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_file_that_is_no_tokenizer_rejects_the_version(content: bytes) -> None:
    with pytest.raises(VersionRejectedError, match=r"tokenizer\.json cannot be used"):
        Tokenizer(content, max_length=8, pair=False)
