"""A connection: heads that come too slowly or are too large, on real sockets; answers in one piece."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.http.connection import Corked
from tests.gateway.processes import gateway, status, wait_until

HEAD_S = 0.5
MAX_CONNECTIONS = 20


@pytest.fixture(scope="module")
def port(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A gateway that waits half a second for a head."""
    logs = tmp_path_factory.mktemp("logs")
    settings = {
        "gateway_head_timeout_s": HEAD_S,
        "gateway_max_head_bytes": 4096,
        "gateway_max_connections": MAX_CONNECTIONS,
        "gateway_drain_s": 0,
    }
    with gateway(published, logs, 1, **settings) as served:
        yield served.port


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


@pytest.mark.parametrize("kept_alive", [False, True])
def test_a_head_that_drips_is_cut_off(port: int, kept_alive: bool) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        if kept_alive:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"200 OK" in slow.recv(65536)
        started_s = time.monotonic()
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        slow.settimeout(0.1)
        answer = b""
        while time.monotonic() - started_s < 5 and not answer:
            try:
                slow.sendall(b"x-drip: 1\r\n")
                answer = slow.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
        assert HEAD_S * 0.8 < time.monotonic() - started_s < HEAD_S + 1


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
        assert everything(silent).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("head", [b"x-long: " + b"a" * 5000, b"x: 1\r\n" * 900])
def test_a_head_that_is_too_large_is_refused(port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as large:
        large.sendall(b"GET /healthz HTTP/1.1\r\n" + head)
        assert everything(large).startswith(b"HTTP/1.1 431")


def test_a_whole_head_that_is_too_large_is_refused(port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: %b\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as large:
        large.sendall(request % (b"a" * 4000))
        assert b"200 OK" in large.recv(65536)
        large.sendall(request % (b"a" * 5000))  # in one segment
        assert everything(large).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(("texts", "words"), [(200, 1), (1, 10_000)], ids=["many requests", "a large body"])
def test_what_comes_before_a_head_is_no_part_of_it(port: int, texts: int, words: int) -> None:
    body = b'{"text": "%b"}' % (b"good " * words)
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as busy:
        busy.sendall((head + body) * texts + last[:20])
        time.sleep(HEAD_S / 5)
        busy.sendall(last[20:])
        answers = everything(busy)
    assert answers.count(b"HTTP/1.1 ") == texts + 1
    assert answers.count(b"HTTP/1.1 200") == 1  # nobody answers behind this gateway, but for itself


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_no_http_is_refused(port: int, chunked: bool) -> None:
    sent = (
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
        if chunked
        else b"nonsense\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as odd:
        odd.sendall(sent)
        assert everything(odd).startswith(b"HTTP/1.1 400")


def test_nonsense_behind_a_request_is_not_its_answer(port: int) -> None:
    body = b'{"text": "good"}'
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as odd:
        odd.sendall(head + body + b"nonsense\r\n\r\n")
        assert b"400" not in everything(odd)[:20]


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"nonsense\r\n\r\n", b"400"), (b"", b"408"), (b"GET / HTTP/1.1\r\nx: " + b"a" * 5000, b"431")],
)
def test_an_answer_without_the_application_is_as_careful_as_its_own(port: int, sent: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as refused:
        refused.sendall(sent)
        answer = everything(refused)
    assert answer.startswith(b"HTTP/1.1 " + status)
    own = httpx.get(f"http://127.0.0.1:{port}/healthz").headers
    for name in ("cache-control", "content-security-policy", "x-content-type-options"):
        assert f"\r\n{name}: {own[name]}\r\n".encode() in answer
    assert answer.endswith(b"\r\nconnection: close\r\n\r\n")


def test_a_slow_body_is_not_a_slow_head(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(b"POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        time.sleep(HEAD_S * 1.5)
        slow.sendall(b"{}")
        assert b"200 OK" in slow.recv(65536)


def test_connections_are_bounded_and_free_again(port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(MAX_CONNECTIONS)
        ]
        for connection in opened:
            connection.sendall(request)
            assert b"200 OK" in connection.recv(65536)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as refused:
            answer = everything(refused)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b"\r\nx-content-type-options: nosniff\r\n" in answer
        opened[0].sendall(request)
        assert b"200 OK" in opened[0].recv(65536)
    wait_until(lambda: status(f"http://127.0.0.1:{port}/healthz") == 200, 5)


async def test_writes_of_one_turn_leave_together_and_closing_sends_them() -> None:
    here, there = socket.socketpair()
    with here, there:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, here)
        sent: list[bytes] = []
        corked = Corked(_Recording(transport, sent), loop)  # type: ignore[arg-type]
        corked.write(b"head ")
        corked.write(b"body")
        assert sent == []
        await asyncio.sleep(0)
        assert sent == [b"head body"]
        corked.write(b"last")
        corked.close()
        assert sent == [b"head body", b"last"]


class _Recording:
    def __init__(self, transport: asyncio.Transport, sent: list[bytes]) -> None:
        self._transport, self.write = transport, sent.append

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
