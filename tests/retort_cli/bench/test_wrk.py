"""wrk: what its script prints is read, and the real one sends different texts."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retort_cli.bench.wrk import Wrk, parse, prepare
from retort_cli.errors import CommandError

PRINTED = """Running 1s test @ http://127.0.0.1:1/predict
  1 threads and 8 connections
measured {"seconds": 1.250000, "answered": 1000, "refused": 7, "broken": 2, "p50": 1.500000, "p95": 2.250000, "p99": 9}
"""


def test_refused_and_broken_requests_are_errors() -> None:
    load = parse(PRINTED, "wrk ...", 8)
    assert (load.requests, load.errors, load.seconds, load.rps) == (993, 9, 1.25, 794.4)
    assert (load.p50_ms, load.p95_ms, load.p99_ms, load.connections) == (1.5, 2.25, 9, 8)


def test_output_without_a_measurement_is_shown() -> None:
    with pytest.raises(CommandError, match="wrk x printed no measurement, but: unable to connect"):
        parse("unable to connect\n", "wrk x", 1)


def test_without_wrk_there_is_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prepare(tmp_path, ["a"]) is None


@contextmanager
def listener(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that keeps the texts that it was sent."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/json"
            texts.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], texts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_every_text_is_another_one(tmp_path: Path) -> None:
    wrk = prepare(tmp_path, ['a "good" film', "naïve"])
    assert isinstance(wrk, Wrk)
    with listener(200) as (port, texts):
        first = wrk.load(port, 2, 1)
        second = wrk.load(port, 1, 1)
    assert first.requests > 0
    assert first.errors == second.errors == 0
    assert len(set(texts)) == len(texts) >= first.requests + second.requests
    assert {text.rsplit(" ", 1)[0] for text in texts} == {'a "good" film', "naïve"}
    assert first.p50_ms > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_refusals_are_counted(tmp_path: Path) -> None:
    wrk = prepare(tmp_path, ["a"])
    assert wrk is not None
    with listener(503) as (port, _):
        load = wrk.load(port, 1, 1)
    assert load.requests == 0
    assert load.errors > 0
