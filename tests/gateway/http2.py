"""HTTP/2 by hand, as far as a gRPC client needs it: so that tests can send what no library would."""

import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
# No dynamic table: then the server writes names and values of its headers as they are, and a search finds them.
NO_TABLE = struct.pack(">HI", 1, 0)
STATUS = re.compile(rb"grpc-status.(\d+)", re.DOTALL)

Fields = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def hpack(fields: Fields) -> bytes:
    """Header fields as literals without indexing and without Huffman's code."""
    return b"".join([b"\0" + _text(name) + _text(value) for name, value in fields])


def call_fields(path: bytes, extra: Fields = ()) -> list[tuple[bytes, bytes]]:
    """The header fields of a gRPC call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"g"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *extra,
    ]


def prefixed(message: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """A message behind its flag and length."""
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


def call(path: bytes, body: bytes, extra: Fields = (), *, ends: bool = True) -> bytes:
    """A whole unary call on stream 1, from the preface on."""
    opening = PREFACE + frame(SETTINGS, 0, 0, NO_TABLE)
    head = frame(HEADERS, END_HEADERS, 1, hpack(call_fields(path, extra)))
    cut = [body[at : at + 16_384] for at in range(0, len(body), 16_384)] or [b""]
    parts = [frame(DATA, END_STREAM if ends and part is cut[-1] else 0, 1, part) for part in cut]
    return opening + head + b"".join(parts)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended: with a status, else with `how`: reset, goaway, closed or hangs.

    `ours`: the gateway's own code answered, not gRPC before it.
    """

    status: int | None
    how: str
    ours: bool = False


def ask(port: int, sent: bytes, timeout_s: float, *, hang_up: bool = False) -> Ending:
    """Send bytes to a gRPC port and read until stream 1 ends one way or another; `hang_up`: nothing follows them."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        received = b""
        try:
            connection.sendall(sent)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while True:
                chunk = connection.recv(65_536)
                received += chunk
                found = _ending(received)
                if found is not None:
                    return found
                if not chunk:
                    return Ending(None, "closed")
        except TimeoutError:
            return Ending(None, "hangs")
        except ConnectionError:
            return _ending(received) or Ending(None, "closed")


def _ending(received: bytes) -> Ending | None:
    at = 0
    while at + 9 <= len(received):
        length = int.from_bytes(received[at : at + 3], "big")
        kind, flags, stream = struct.unpack(">BBI", received[at + 3 : at + 9])
        payload = received[at + 9 : at + 9 + length]
        if len(payload) < length:
            return None
        at += 9 + length
        if kind == GOAWAY:
            return Ending(None, "goaway")
        if stream == 1 and kind == RST_STREAM:
            return Ending(None, "reset")
        if stream == 1 and kind == HEADERS and flags & END_STREAM:
            status = STATUS.search(payload)
            if status is None:
                return Ending(None, f"headers {payload[:80]!r}")
            return Ending(int(status[1]), "status", b"x-request-id" in payload)
    return None


def _text(text: bytes) -> bytes:
    """A string literal: its length in seven bits, or more when it needs them."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, out = len(text) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 | 128)
        rest //= 128
    return bytes([*out, rest]) + text
