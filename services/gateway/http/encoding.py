"""The content-encoding of a body: gzip or deflate, decoded as it comes and no further than its limit."""

import zlib

from gateway.errors import InvalidRequestError, TooLargeError, UnsupportedEncodingError

WINDOWS = {b"gzip": 31, b"deflate": 15}  # zlib's names of the two formats


class Decoder:
    """Decodes one body."""

    def __init__(self, encoding: bytes, max_bytes: int) -> None:
        self._name, self._max_bytes, self._left = encoding.decode(), max_bytes, max_bytes
        self._zlib = zlib.decompressobj(WINDOWS[encoding])

    def decode(self, data: bytes, *, last: bool) -> bytes:
        """Return what the next bytes stand for; raises TooLargeError or InvalidRequestError."""
        try:
            decoded = self._zlib.decompress(data, self._left + 1)
        except zlib.error as error:
            raise InvalidRequestError(f"the body is not {self._name}, as its content-encoding says: {error}") from None
        self._left -= len(decoded)
        if self._left < 0:
            raise TooLargeError(f"the body is larger, decoded, than the {self._max_bytes} bytes that the gateway reads")
        if self._zlib.unused_data or (last and not self._zlib.eof):
            raise InvalidRequestError(f"the body is not one whole {self._name} stream, as its content-encoding says")
        return decoded


def decoder(encoding: bytes | None, max_bytes: int) -> Decoder | None:
    """Return what decodes a body with this content-encoding, None for a plain one; raises UnsupportedEncodingError."""
    if encoding is None or (encoding := encoding.strip().lower()) in (b"", b"identity"):
        return None
    if encoding not in WINDOWS:
        raise UnsupportedEncodingError(
            f"content-encoding {encoding[:40].decode('latin-1')!r} is not supported; send gzip, deflate or none"
        )
    return Decoder(encoding, max_bytes)
