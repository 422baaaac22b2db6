"""Faults in real processes: Triton killed, stopped, silent or half gone; callers that leave; a gateway that drains."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread

import httpx
import pytest

from tests.gateway.processes import free_port, gateway, status, wait_until
from tests.model_server_process import ModelServer, model_server

DEADLINE_MS = 3000
FUZZED = 500
# Set by `make chaos`: many times the default suite's requests.
CHAOS = int(os.environ.get("CHAOS", "1"))


@dataclass
class Load:
    """Callers in a closed loop; every answer with the moment it came and how long it took."""

    url: str
    answers: list[tuple[float, int, float]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    done: Event = field(default_factory=Event)

    @contextmanager
    def running(self, callers: int = 6) -> Iterator["Load"]:
        """Run until the block ends."""
        threads = [Thread(target=self._call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.done.set()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads), "a request hangs"

    def codes(self, since_s: float = 0.0) -> Counter[int]:
        """How often each status came since a moment."""
        with self.lock:
            return Counter(code for at_s, code, _ in self.answers if at_s >= since_s)

    def slowest_s(self) -> float:
        """The longest that anybody waited."""
        with self.lock:
            return max(took_s for _, _, took_s in self.answers)

    def _call(self) -> None:
        with httpx.Client(timeout=20, headers={"x-deadline-ms": str(DEADLINE_MS)}) as client:
            while not self.done.is_set():
                started_s = time.monotonic()
                try:
                    code = client.post(f"{self.url}/predict", json={"text": "a good film"}).status_code
                except httpx.TransportError:
                    code = 0
                now_s = time.monotonic()
                with self.lock:
                    self.answers.append((now_s, code, now_s - started_s))
                time.sleep(0.01)


def served_by_now(server: ModelServer) -> None:
    """Wait until Triton serves the model."""
    url = f"http://127.0.0.1:{server.http}/v2/models/tiny/ready"
    wait_until(lambda: status(url) == 200, 40, server.log)


def test_triton_stopped_for_five_seconds(published: Path, tmp_path: Path) -> None:
    with model_server(published, tmp_path / "triton.log") as triton:
        served_by_now(triton)
        with gateway(published, tmp_path, triton.grpc) as served, Load(served.url).running() as load:
            time.sleep(1)
            pid = triton.triton_pid()
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(5)
            finally:
                os.kill(pid, signal.SIGCONT)
            time.sleep(2)
            whole_s = time.monotonic()
            time.sleep(1)
    assert set(load.codes()) <= {200, 503, 504}
    assert set(load.codes(whole_s)) == {200}
    assert load.slowest_s() < DEADLINE_MS / 1e3 + 1


def test_one_of_two_tritons_killed(published: Path, tmp_path: Path) -> None:
    with model_server(published, tmp_path / "a.log") as one, model_server(published, tmp_path / "b.log") as two:
        served_by_now(one)
        served_by_now(two)
        with gateway(published, tmp_path, one.grpc, two.grpc) as served, Load(served.url).running() as load:
            time.sleep(1)
            os.kill(two.triton_pid(), signal.SIGKILL)
            time.sleep(3)
            assert "breaker open" in httpx.get(f"{served.url}/readyz").json()["upstreams"][f"127.0.0.1:{two.grpc}"]
    assert set(load.codes()) == {200}, "the retry must hide the dead one"


def test_triton_killed_under_load_and_started_again(published: Path, tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("triton_http_port", "triton_grpc_port")}
    grpc_port = int(ports["triton_grpc_port"])
    with gateway(published, tmp_path, grpc_port) as served, Load(served.url).running() as load:
        with model_server(published, tmp_path / "first.log", **ports) as triton:
            wait_until(lambda: load.codes()[200] > 0, 40, triton.log)
            os.kill(triton.triton_pid(), signal.SIGKILL)
            triton.process.wait(10)
        with model_server(published, tmp_path / "second.log", **ports) as again:
            url = f"http://127.0.0.1:{ports['triton_http_port']}/v2/models/tiny/ready"
            wait_until(lambda: status(url) == 200, 40, again.log)
            time.sleep(2)
            whole_s = time.monotonic()
            time.sleep(1)
            load.done.set()
            time.sleep(0.5)  # the last calls end before their Triton does
    assert set(load.codes()) <= {200, 503, 504}
    assert set(load.codes(whole_s)) == {200}
    assert load.slowest_s() < DEADLINE_MS / 1e3 + 1


def test_a_triton_that_accepts_and_never_answers(published: Path, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway(published, tmp_path, silent.getsockname()[1]) as served,
        Load(served.url).running() as load,
    ):
        time.sleep(6)
    assert set(load.codes()) <= {503, 504}
    assert load.slowest_s() < DEADLINE_MS / 1e3 + 1


def test_callers_that_leave_leave_nothing_behind(published: Path, tmp_path: Path) -> None:
    body = b'{"text": "a good film"}'
    head = f"POST /predict HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway(published, tmp_path, silent.getsockname()[1]) as served,
    ):
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", served.port)) as caller:
                caller.sendall(head + body)
        wait_until(lambda: served.metric("retort_inflight_requests") == 0, 5)
        assert status(f"{served.url}/healthz") == 200


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed: NO PROOF of a drain behind one")
def test_a_gateway_that_drains_behind_a_load_balancer(published: Path, tmp_path: Path) -> None:
    with model_server(published, tmp_path / "triton.log") as triton:
        served_by_now(triton)
        with (
            gateway(published, tmp_path, triton.grpc, gateway_drain_s=3) as one,
            gateway(published, tmp_path, triton.grpc) as two,
        ):
            front = free_port()
            config = tmp_path / "haproxy.cfg"
            config.write_text(
                "defaults\n mode http\n timeout connect 1s\n timeout client 20s\n timeout server 20s\n"
                f"frontend f\n bind 127.0.0.1:{front}\n default_backend b\n"
                "backend b\n option httpchk GET /readyz\n default-server check inter 200ms fall 2 rise 1\n"
                f" server one 127.0.0.1:{one.port}\n server two 127.0.0.1:{two.port}\n"
            )
            balancer = subprocess.Popen(["haproxy", "-db", "-f", str(config)])
            try:
                wait_until(lambda: status(f"http://127.0.0.1:{front}/readyz") == 200, 5)
                with Load(f"http://127.0.0.1:{front}").running() as load:
                    time.sleep(1)
                    one.process.send_signal(signal.SIGTERM)
                    assert one.process.wait(10) == 0
                    time.sleep(1)
            finally:
                balancer.terminate()
                balancer.wait(5)
    assert set(load.codes()) == {200}


def malformed(chance: random.Random) -> bytes:
    """A request with a few bytes changed, cut or doubled."""
    body = b'{"text": "a good film", "inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}]}'
    path = chance.choice(["/predict", "/v1/models/tiny/predict", "/v2/models/tiny/infer", "/v2/models/tiny", "/readyz"])
    head = f"{chance.choice(['POST', 'GET'])} {path} HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n"
    sent = bytearray(head.encode() + body)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(sent))
        kind = chance.randrange(3)
        sent[at : at + (kind != 1)] = bytes([chance.randrange(256)]) if kind < 2 else b""
    return bytes(sent)


def fuzz(port: int, sent: bytes) -> int:
    """Send it and end the stream; return the status, 0 for a connection that was closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as caller:
        try:
            caller.sendall(sent)
            caller.shutdown(socket.SHUT_WR)
            answer = caller.recv(65536)
        except ConnectionError:
            return 0
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_bytes_that_are_no_request(published: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = unused.getsockname()[1]
    with gateway(published, tmp_path, dead) as served, ThreadPoolExecutor(4) as pool:
        codes = Counter(pool.map(lambda sent: fuzz(served.port, sent), [malformed(chance) for _ in range(FUZZED)]))
        warm = served.metric("process_resident_memory_bytes")
        more = [malformed(chance) for _ in range(FUZZED * CHAOS)]
        codes += Counter(pool.map(lambda sent: fuzz(served.port, sent), more))
        wait_until(lambda: served.metric("retort_inflight_requests") == 0, 12)
        grown = served.metric("process_resident_memory_bytes") - warm
    assert not [code for code in codes if code >= 500 and code not in (503, 504)], codes
    assert codes[400] > FUZZED / 4
    assert grown < 5e6
