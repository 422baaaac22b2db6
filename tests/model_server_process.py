"""A real model server (Triton and its loader) as tests start it: free ports, its log kept, never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tests.ports import free_ports

START_TIMEOUT_S = 40.0


@dataclass(frozen=True)
class ModelServer:
    """A running `python -m model_server`."""

    process: subprocess.Popen[bytes]
    log: Path
    http: int
    grpc: int
    loader: int

    def status(self) -> dict[str, Any]:
        """Return /status, or {} while it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.loader}/status", timeout=5) as response:
                return dict(json.load(response))
        except (URLError, OSError):
            return {}

    def wait(self, what: str, **expected: Any) -> dict[str, Any]:
        """Wait until `what`'s entry in /status has these values; return the entry."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            entry: dict[str, Any] = self.status().get("models", {}).get(what, {})
            if {key: entry.get(key) for key in expected} == expected:
                return entry
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{entry}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    def infer(
        self, ids: Sequence[Sequence[int]], model: str = "tiny", version: int | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send rows of token ids to Triton; return the HTTP status and the answer."""
        shape, flat = [len(ids), len(ids[0])], [token for row in ids for token in row]
        tensors = [("input_ids", flat), ("attention_mask", [1] * len(flat))]
        inputs = [{"name": name, "datatype": "INT64", "shape": shape, "data": data} for name, data in tensors]
        where = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        return self.call(where, {"inputs": inputs})

    def call(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """POST to Triton's HTTP door; return the status and the answer."""
        request = Request(f"http://127.0.0.1:{self.http}{path}", json.dumps(body or {}).encode(), dict(headers or {}))
        try:
            with urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read() or b"{}")
        except HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def triton_pid(self) -> int:
        """Return the process id of tritonserver."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if b"tritonserver" in Path(f"/proc/{pid}/cmdline").read_bytes())


@contextmanager
def model_server(repository: Path, log: Path, **settings: str) -> Iterator[ModelServer]:
    """Start a model server on `repository`; `settings` are RETORT_* without the prefix."""
    http, grpc, metrics, loader = free_ports(4)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RETORT_")},
        "RETORT_MODEL_REPOSITORY": str(repository),
        "RETORT_TRITON_HTTP_PORT": str(http),
        "RETORT_TRITON_GRPC_PORT": str(grpc),
        "RETORT_TRITON_METRICS_PORT": str(metrics),
        "RETORT_LOADER_PORT": str(loader),
        "RETORT_LOADER_POLL_S": "0.1",
        "RETORT_INSTANCES": "1",
        **{f"RETORT_{name.upper()}": value for name, value in settings.items()},
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "model_server"], env=environment, stdout=output, stderr=output
        )
    try:
        yield ModelServer(process, log, http, grpc, loader)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
