"""`python -m gateway` as a process: starts, refuses in one sentence, drains on SIGTERM."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.gateway.fake_triton import FakeTriton
from tests.gateway.processes import environment, free_port, process, status, wait_until


@dataclass
class Running:
    """A gateway process in front of a fake Triton."""

    process: subprocess.Popen[bytes]
    triton: FakeTriton
    url: str
    metrics_url: str
    log: Path


@pytest.fixture
def running(published: Path, threaded_triton: FakeTriton, tmp_path: Path) -> Iterator[Running]:
    """A gateway that is ready."""
    http, metrics = free_port(), free_port()
    variables = environment(
        model_repository=published,
        triton_urls=threaded_triton.url,
        http_port=http,
        metrics_port=metrics,
        gateway_drain_s=1,
    )
    log = tmp_path / "gateway.log"
    with process("gateway", variables, log) as started:
        url = f"http://127.0.0.1:{http}"
        wait_until(lambda: status(f"{url}/readyz") == 200, 15, log)
        yield Running(started, threaded_triton, url, f"http://127.0.0.1:{metrics}/metrics", log)


def test_answers_and_measures(running: Running) -> None:
    answer = httpx.post(f"{running.url}/predict", json={"text": "a good film"})
    assert answer.json()["prediction"] == "positive"
    exposed = httpx.get(running.metrics_url).text
    counted = 'retort_requests_total{code="200",cohort="stable",model="tiny",route="predict",version="1"} 1.0'
    assert counted in exposed
    assert "retort_inflight_requests 0.0" in exposed
    assert 'retort_queue_depth{model="tiny"} 0.0' in exposed
    assert httpx.get(f"{running.url}/metrics").status_code == 404
    for line in running.log.read_text().splitlines():
        assert {"time", "level", "message"} <= set(json.loads(line))


def test_sigterm_fails_readiness_first_and_loses_nothing(running: Running) -> None:
    running.triton.delay_s = 2.0
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(httpx.post, f"{running.url}/predict", json={"text": "good"}, timeout=10)
        wait_until(lambda: bool(running.triton.requests), 5)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(f"{running.url}/readyz") == 503, 1)
        running.triton.delay_s = 0.0
        last = httpx.post(f"{running.url}/predict", json={"text": "bad"})
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        assert pending.result().status_code == 200
    assert running.process.wait(5) == 0


def test_a_client_that_leaves_is_dropped_before_compute(running: Running) -> None:
    running.triton.delay_s = 3.0
    callers = []
    for computing in (1, 2, 3):  # all the batches that may be in flight
        callers.append(send(running.url, "good"))
        wait_until(lambda wanted=computing: len(running.triton.requests) == wanted, 2)  # type: ignore[misc]
    leaving = [send(running.url, "dull") for _ in range(5)]
    wait_until(lambda: waiting_rows(running) == 5, 2)
    for caller in leaving:
        caller.close()
    wait_until(lambda: waiting_rows(running) == 0, 2)
    assert len(running.triton.requests) == 3  # they left while the first three were still being computed
    running.triton.delay_s = 0.0
    assert httpx.post(f"{running.url}/predict", json={"text": "bad"}, timeout=10).status_code == 200
    assert sum(request.inputs[0].shape[0] for request in running.triton.requests) == 4
    for caller in callers:
        caller.close()


def send(url: str, text: str) -> socket.socket:
    """Send a predict request and do not wait for the answer."""
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)
    body = json.dumps({"text": text}).encode()
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    return connection


def waiting_rows(running: Running) -> float:
    """What the gateway says of its queue."""
    lines = httpx.get(running.metrics_url).text.splitlines()
    return float(next(line for line in lines if line.startswith("retort_queue_depth{")).split()[-1])


def test_raw_sockets_that_speak_nonsense_are_answered_or_closed(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    for message in (
        b"\x00\xff\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(message)
            assert raw.recv(100)[:12] in (b"", b"HTTP/1.1 400")
    assert status(f"{running.url}/healthz") == 200


@pytest.mark.parametrize("chunk", [b"", b"zz\r\n"])
def test_a_body_that_breaks_off_is_the_clients_doing(running: Running, chunk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=5) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        wait_until(lambda: status(f"{running.url}/healthz") == 200, 5)  # it waits for the rest by now
        raw.sendall(chunk)
    wait_until(lambda: 'code="499"' in httpx.get(running.metrics_url).text, 5, running.log)
    assert 'code="500"' not in httpx.get(running.metrics_url).text
    assert "Traceback" not in running.log.read_text()


def fails(**settings: str | int | Path) -> str:
    """Run a gateway that must not start; return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "gateway"], env=environment(**settings), capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    return ended.stderr


@pytest.mark.parametrize("name", ["http_port", "grpc_port", "admin_port", "metrics_port"])
def test_a_port_in_use_is_one_sentence(published: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "admin").write_text(f"{'0' * 64} root\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {
            "http_port": free_port(),
            "grpc_port": free_port(),
            "admin_port": free_port(),
            "metrics_port": free_port(),
            name: taken.getsockname()[1],
        }
        said = fails(model_repository=published, admin_key_file=tmp_path / "admin", **ports)
    assert str(ports[name]) in said
    assert f"RETORT_{name.upper()}" in said


def test_one_port_for_both_is_one_sentence(published: Path) -> None:
    port = free_port()
    assert "RETORT_METRICS_PORT" in fails(model_repository=published, http_port=port, metrics_port=port)


def test_a_wrong_setting_is_one_sentence() -> None:
    assert "Protocol not known: foo" in fails(model_repository="foo://x")
    assert "RETORT_MODEL_REPOSITORY?" in fails(model_repositry="x")
    assert "RETORT_AUTH=off" in fails(host="0.0.0.0")
