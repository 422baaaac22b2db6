"""Bytes that are no HTTP request, or hardly one: refused, never a 5xx, and nothing of them stays."""

import logging
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.leaks import assert_no_more_than, at_rest
from tests.gateway.load import CHAOS, WARM_UP
from tests.gateway.processes import gateway
from tests.gateway.test_grpc_fuzz import spoilt
from tests.model_server_process import ModelServer

log = logging.getLogger(__name__)

FUZZED = 250  # with Triton and as many without
PATHS = ["/predict", "/v1/models/tiny/predict", "/v2/models/tiny/infer", "/v2/models/tiny", "/readyz"]
BODIES = [
    b'{"text": "a good film", "inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}]}',
    b'{"inputs": ["a good film", "a dull one"], "parameters": {"priority": 1}, "text": "good", "id": "1"}',
    b'{"inputs": [{"name": "input_ids", "shape": [1, 2], "datatype": "INT64", "data": [2, 3]}, '
    b'{"name": "attention_mask", "shape": [1, 2], "datatype": "INT64", "data": [1, 1]}]}',
]
# Whole requests: with a few bytes changed their numbers would hardly ever be read as such.
ODD = [
    BODIES[2][:-1] + b', "outputs": [{"name": "logits", "parameters": {"classification": %s}}]}' % number
    for number in (b"-1", b"1.5", b"4294967296", b"9223372036854775808", b"18446744073709551615")
]


def malformed(chance: random.Random) -> tuple[bytes, bool]:
    """A request with odd numbers, or a few bytes changed, cut or doubled, and whether anywhere or only in its body."""
    if chance.random() < 0.1:
        body = chance.choice(ODD)
        return f"POST {PATHS[2]} HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body, False
    body = chance.choice(BODIES)
    anywhere = chance.random() < 0.5
    if not anywhere:
        body = spoilt(chance, body)
    line = f"{chance.choice(['POST', 'POST', 'GET'])} {chance.choice(PATHS)} HTTP/1.1"
    sent = f"{line}\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    return spoilt(chance, sent) if anywhere else sent, anywhere


def fuzz(port: int, sent: bytes, hang_up: bool) -> int:
    """Send it and perhaps end the stream; return the status, 0 for a connection that was closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as caller:
        try:
            caller.sendall(sent)
            if hang_up:  # else a body that now is too long would be waited for
                caller.shutdown(socket.SHUT_WR)
            answer = caller.recv(65536)
        except ConnectionError:
            return 0
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize("live", [True, False], ids=["live", "dead"])
@pytest.mark.timeout(60 * CHAOS)
def test_bytes_that_are_no_request(published: Path, live_triton: ModelServer, tmp_path: Path, live: bool) -> None:
    chance = random.Random(3)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    with gateway(published, tmp_path, live_triton.grpc if live else dead) as served, ThreadPoolExecutor(4) as pool:
        warming = [malformed(chance) for _ in range(FUZZED * WARM_UP)]
        codes = Counter(pool.map(lambda sent: fuzz(served.port, *sent), warming))
        before = at_rest(served)
        more = [malformed(chance) for _ in range(FUZZED * CHAOS)]
        codes += Counter(pool.map(lambda sent: fuzz(served.port, *sent), more))
        log.info("bytes over HTTP, Triton %s: %s", "live" if live else "dead", dict(codes))
        assert_no_more_than(before, served, "bytes that are no request")
    allowed = {503, 504} if not live else set()
    assert not [code for code in codes if code >= 500 and code not in allowed], codes
    assert codes[400] > FUZZED / 4
    assert codes[200 if live else 503]
