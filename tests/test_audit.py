"""The dependency audit: silence of a list that knows no vulnerability at all is not good news."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci/audit"


@contextmanager
def serving(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything alike; its address."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Same) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b'{"vulnerabilities": []}'), (200, b"{}"), (200, b"<html>"), (404, b""), (200, b"[]")]
)
def test_who_knows_no_vulnerability_is_not_asked(status: int, body: bytes) -> None:
    with serving(status, body) as url:
        environment = os.environ | {"PYTHON": sys.executable, "AUDIT_CANARY": url, "no_proxy": "127.0.0.1"}
        ended = subprocess.run([AUDIT], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 75
    assert "the dependencies were NOT audited" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
