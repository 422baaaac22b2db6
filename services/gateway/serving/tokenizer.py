"""The tokenizer of a version: text in, token ids out, exactly as in training."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from gateway.errors import DeadlineExceededError, VersionRejectedError
from gateway.trace_context import TraceContext

# 20,000 characters take about 3 ms: longer work would be felt by every other request on the loop.
OFF_LOOP_CHARS = 20_000
THREADS = 2  # for long work, of each version; started when they are needed
Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text's ids; `type_ids` only for pairs; `trace` of whoever asks, when there is tracing."""

    ids: list[int]
    type_ids: list[int] | None
    trace: TraceContext | None = None

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """A `tokenizer.json` that truncates to `max_length` tokens, special ones included."""

    def __init__(self, tokenizer_json: bytes, *, max_length: int, pair: bool) -> None:
        try:
            self._tokenizer = FastTokenizer.from_str(tokenizer_json.decode())
            self._tokenizer.enable_truncation(max_length)
        except Exception as error:  # tokenizers raises bare Exception for a file that it cannot read
            raise VersionRejectedError(f"tokenizer.json cannot be used: {error}") from error
        self._tokenizer.no_padding()
        self._pair = pair
        # The loop's own threads look names up and read keys and models: long texts must not stand in their way.
        self._long = ThreadPoolExecutor(THREADS, thread_name_prefix="tokenize")

    async def encode(self, texts: Sequence[Text], deadline_s: float) -> list[Tokens]:
        """Return the tokens of each text in order; long work runs on a thread. Raises DeadlineExceededError."""
        if sum(map(chars, texts)) > OFF_LOOP_CHARS:
            work = asyncio.get_running_loop().run_in_executor(self._long, self._encode_batch, texts)
            try:
                async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                    return await work
            except TimeoutError:
                raise DeadlineExceededError("the deadline passed before the text was tokenized") from None
        if len(texts) > 1:
            return self._encode_batch(texts)
        text = texts[0]
        return [self._tokens(self._tokenizer.encode(text) if isinstance(text, str) else self._tokenizer.encode(*text))]

    def encode_all(self, texts: Sequence[Text]) -> list[Tokens]:
        """Return the tokens of each text in order; blocks, for whoever has no loop."""
        return self._encode_batch(texts)

    def _encode_batch(self, texts: Sequence[Text]) -> list[Tokens]:
        # Also for one text on a thread: `encode` holds the GIL, so 1 MB would stop the loop for a second all the same.
        return [self._tokens(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _tokens(self, encoding: Encoding) -> Tokens:
        return Tokens(encoding.ids, encoding.type_ids if self._pair else None)


def chars(text: Text) -> int:
    """Return how many characters a text has, a pair those of both."""
    return len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
