"""The admin server: beside the gateway on a port of its own, and gone with it."""

import hashlib
import signal
from pathlib import Path

import httpx

from tests.gateway.processes import environment, process, status, wait_until
from tests.ports import free_ports


def test_it_serves_beside_the_gateway_through_the_drain_and_ends_with_it(published: Path, tmp_path: Path) -> None:
    http, admin, metrics = free_ports(3)
    (tmp_path / "admin").write_text(f"{hashlib.sha256(b'adminkey').hexdigest()} root\n")
    variables = environment(
        model_repository=published,
        triton_urls="127.0.0.1:1",
        http_port=http,
        admin_port=admin,
        admin_key_file=tmp_path / "admin",
        metrics_port=metrics,
        gateway_drain_s=1,
    )
    log, headers = tmp_path / "gateway.log", {"authorization": "Bearer adminkey"}
    url = f"http://127.0.0.1:{admin}/admin/v1/status"
    with process("gateway", variables, log) as running:
        wait_until(lambda: status(f"http://127.0.0.1:{http}/readyz") == 200, 15, log)
        assert status(url) == 401
        assert status(f"http://127.0.0.1:{http}/admin/v1/status") == 404
        answer = httpx.get(url, headers=headers)
        assert answer.json()["draining"] is False
        assert answer.headers["x-content-type-options"] == "nosniff"
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(url, headers=headers).json()["draining"] is True, 0.8)
        assert running.wait(5) == 0
    assert "Traceback" not in log.read_text()
