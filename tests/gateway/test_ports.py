"""Ports: taken alone, or claimed for workers; refused in one sentence."""

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from gateway import ports
from gateway.errors import SettingsError
from tests.gateway.processes import wait_until

HOST = "127.0.0.1"


def listening(*, reuse_port: bool) -> socket.socket:
    """A stranger."""
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
    stranger.bind((HOST, 0))
    stranger.listen()
    return stranger


@pytest.mark.parametrize("reuse_port", [False, True])
@pytest.mark.parametrize("take", [ports.bind, ports.claim])
def test_a_strangers_port_is_refused(take: object, reuse_port: bool) -> None:
    with listening(reuse_port=reuse_port) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on {HOST}:{port} .*RETORT_X_PORT to another"):
            take(HOST, port, "RETORT_X_PORT")  # type: ignore[operator]
        with pytest.raises(SettingsError, match="RETORT_METRICS_PORT"):
            ports.expose(HOST, port, CollectorRegistry())


def test_a_claim_keeps_all_but_the_workers_away_and_takes_no_connection() -> None:
    with ports.claim(HOST, 0, "RETORT_X_PORT") as holder:
        port = holder.getsockname()[1]
        for take in (ports.bind, ports.claim):
            with pytest.raises(SettingsError):
                take(HOST, port, "RETORT_X_PORT")
        with pytest.raises(SettingsError):
            ports.expose(HOST, port, CollectorRegistry())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), timeout=1)
        with ports.join(HOST, port, "RETORT_X_PORT") as one, ports.join(HOST, port, "RETORT_X_PORT") as other:
            one.listen()
            other.listen()
            callers = [socket.create_connection((HOST, port), timeout=1) for _ in range(64)]
            one.setblocking(False)
            other.setblocking(False)
            accepted = [one.accept()[0], other.accept()[0]]  # either has some: the chance of none is 2 ** -63
            for connection in callers + accepted:
                connection.close()


def threads() -> int:
    """How many this process has."""
    return len(list(Path(f"/proc/{os.getpid()}/task").iterdir()))


def test_metrics_answer_whoever_else_connects_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ports, "SCRAPE_TIMEOUT_S", 0.5)
    before = threads()
    server = ports.expose(HOST, 0, CollectorRegistry())
    port = server.server_port
    try:
        with ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection((HOST, port), timeout=5)) for _ in range(100)]
            url = f"http://{HOST}:{port}/metrics"
            assert httpx.get(url, timeout=5).status_code == 200
            assert threads() - before <= ports.MAX_SCRAPES + 1
            for connection in silent:
                assert connection.recv(1) == b""  # the first make room, the last are given up
            wait_until(lambda: threads() - before == 1, 5)  # a thread ends a moment after its connection
            assert httpx.get(url, timeout=5).status_code == 200
    finally:
        server.shutdown()
        server.server_close()
    assert capfd.readouterr().err == ""
