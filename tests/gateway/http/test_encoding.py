"""Content-encoding: whole streams are decoded, bombs and rubbish are not."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest

from gateway.errors import InvalidRequestError, TooLargeError, UnsupportedEncodingError
from gateway.http.encoding import Decoder, decoder

TEXT = b"a good film, and " * 40
WRITERS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def decode(encoding: bytes, sent: bytes, *, max_bytes: int = len(TEXT), chunk: int = 7) -> bytes:
    """Decode what comes in chunks."""
    made = Decoder(encoding, max_bytes)
    starts = range(0, len(sent) or 1, chunk)
    return b"".join(made.decode(sent[at : at + chunk], last=at == starts[-1]) for at in starts)


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_what_was_encoded_comes_out_up_to_the_limit(encoding: bytes, chunk: int) -> None:
    sent = WRITERS[encoding](TEXT)
    assert decode(encoding, sent, chunk=chunk) == TEXT
    with pytest.raises(TooLargeError, match="larger, decoded, than the 679 bytes"):
        decode(encoding, sent, chunk=chunk, max_bytes=len(TEXT) - 1)


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize(
    "spoil", [lambda sent: sent[:-1], lambda sent: sent + b"x", lambda sent: sent * 2, lambda _: b""]
)
def test_what_is_no_whole_stream_is_refused(encoding: bytes, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidRequestError, match="content-encoding says"):
        decode(encoding, spoil(WRITERS[encoding](TEXT)), chunk=10_000)


def test_the_other_format_is_not_guessed() -> None:
    with pytest.raises(InvalidRequestError, match="the body is not gzip, as its content-encoding says"):
        decode(b"gzip", zlib.compress(TEXT))


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        decode(b"gzip", bomb, max_bytes=100_000, chunk=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_whatever_comes_is_decoded_or_refused() -> None:
    chance = random.Random(3)
    for encoding, writer in WRITERS.items():
        for _ in range(300):
            sent = bytearray(writer(TEXT))
            sent[chance.randrange(len(sent))] = chance.randrange(256)
            with suppress(InvalidRequestError, TooLargeError):
                decode(encoding, bytes(sent), chunk=chance.choice([1, 5, 100]))


@pytest.mark.parametrize("encoding", [None, b"", b"identity", b" Identity "])
def test_a_plain_body_needs_no_decoder(encoding: bytes | None) -> None:
    assert decoder(encoding, 10) is None


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, deflate", b"\xff" * 900])
def test_other_encodings_are_refused_by_name(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncodingError, match=r"content-encoding .* is not supported") as refused:
        decoder(encoding, 10)
    assert encoding[:40].decode("latin-1") in str(refused.value)
    assert len(str(refused.value)) < 200
    assert decoder(b" GZip", 10) is not None
