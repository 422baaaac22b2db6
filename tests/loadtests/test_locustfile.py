"""The Locust file against a small server: what it sends, what it counts, and which runs it fails."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KEY = "a-key-for-this-test"
LOOSE = ("--p95-ms", "5000", "--p99-ms", "5000", "--min-rps", "1")


@dataclass
class Door:
    """A gateway's HTTP door in small: it answers, except every `fails_every`-th request, and remembers the bodies."""

    takes_s: float = 0.005
    fails_every: int = 0
    answer: Any = None
    seen: list[tuple[str, Any]] = field(default_factory=list)

    def respond(self, path: str, authorization: str | None, body: Any) -> tuple[int, Any]:
        """Return status and answer."""
        if authorization != f"Bearer {KEY}":
            return 401, {"error": {"code": "unauthenticated", "message": "an API key is needed"}}
        self.seen.append((path, body))
        if self.fails_every and len(self.seen) % self.fails_every == 0:
            error = {"code": "unavailable", "message": "no upstream"}
            return 503, {"error": error, "request_id": str(len(self.seen))}
        if self.answer is not None:
            return 200, self.answer
        if path == "/predict":
            return 200, {"prediction": "refund", "confidence": 0.9, "model": "m", "version": 1}
        return 200, [{"label": "refund", "score": 0.9} for _ in body["inputs"]]


@contextmanager
def serving(door: Door) -> Iterator[str]:
    """Serve `door` on a free port; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: in two, the client's delayed ACK costs 40 ms

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            time.sleep(door.takes_s)
            status, answer = door.respond(self.path, self.headers["authorization"], body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.send_header("server-timing", "queue;dur=7.000, triton;dur=3.500, total;dur=11.000")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def locust(url: str, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the file for two seconds as a user does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "LOADTEST_"))}
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/locustfile.py"), "--headless"),
            *("-u", "2", "-r", "2", "-t", "2s", "--stop-timeout", "2", "--host", url, *options),
        ],
        env={**inherited, "RETORT_API_KEY": KEY, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def first_row(run: subprocess.CompletedProcess[str], *name: str) -> list[str]:
    """Return the columns of the first table's row called `name`: requests, failures, mean, ..."""
    rows = (line.replace("|", " ").split() for line in (run.stdout + run.stderr).splitlines())
    return next(row[len(name) :] for row in rows if tuple(row[: len(name)]) == name)


def test_a_good_run_passes_and_counts_the_servers_steps() -> None:
    door = Door()
    with serving(door) as url:
        run = locust(url, *LOOSE, "--model", "tickets", "--only-summary")
    assert run.returncode == 0, run.stderr
    assert {path for path, _ in door.seen} == {"/predict", "/v1/models/tickets/predict"}
    assert all(body["text"].strip() for path, body in door.seen if path == "/predict")
    assert all(len(body["inputs"]) == 4 for path, body in door.seen if path != "/predict")
    queue = first_row(run, "server", "queue")
    assert int(queue[0]) == len(door.seen)
    assert int(queue[2]) == 7  # the mean that the header told
    assert int(first_row(run, "Aggregated")[0]) == len(door.seen)  # steps are not requests


@pytest.mark.parametrize(
    ("options", "environment", "complaint"),
    [
        (("--p50-ms", "1"), {}, "p50 is"),
        ((), {"LOADTEST_P99_MS": "1"}, "p99 is"),
        (("--min-rps", "1000000"), {}, "wanted are at least 1e+06"),
    ],
)
def test_an_impossible_threshold_fails_the_run(
    options: tuple[str, ...], environment: dict[str, str], complaint: str
) -> None:
    loose = LOOSE if not environment else ("--p95-ms", "5000", "--min-rps", "1")
    with serving(Door()) as url:
        run = locust(url, *loose, *options, environment=environment)
    assert run.returncode == 1
    assert complaint in run.stderr


def test_errors_fail_the_run_beyond_the_allowed_share_only() -> None:
    with serving(Door(fails_every=5)) as url:
        strict, lenient = locust(url, *LOOSE), locust(url, *LOOSE, "--max-error-share", "0.5")
    assert strict.returncode == 1
    assert "of the requests failed, allowed are 0.10%" in strict.stderr
    report = (strict.stdout + strict.stderr).splitlines()
    # The server's own sentence, once for each of the two doors however many requests failed.
    assert 1 <= len([line for line in report if "no upstream" in line]) <= 2
    assert lenient.returncode == 0, lenient.stderr


def test_a_200_without_an_answer_is_an_error() -> None:
    with serving(Door(answer={"detail": "hello"})) as url:
        run = locust(url, *LOOSE)
    assert run.returncode == 1
    assert "100.00% of the requests failed" in run.stderr


def test_nobody_there_fails_the_run() -> None:
    with serving(Door()) as url:
        pass
    run = locust(url, *LOOSE)
    assert run.returncode == 1
    assert "100.00% of the requests failed" in run.stderr


def test_a_wrong_key_is_told() -> None:
    with serving(Door()) as url:
        run = locust(url, *LOOSE, environment={"RETORT_API_KEY": "wrong"})
    assert run.returncode == 1
    assert "an API key is needed" in run.stdout + run.stderr
