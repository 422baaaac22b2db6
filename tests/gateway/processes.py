"""Real processes for tests: started on free ports, read from, always ended."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_ports

SERVICES = Path(__file__).parents[2] / "services"
ADMIN_KEY = "the-key-of-these-tests-and-of-nothing-else"


def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]


def environment(**settings: str | float | Path) -> dict[str, str]:
    """This environment without Retort's settings, with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RETORT_")}
    inherited |= {"PYTHONPATH": str(SERVICES), "OMP_NUM_THREADS": "1", "RETORT_GRPC_PORT": str(free_port())}
    return inherited | {f"RETORT_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def process(module: str, variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module`; at the end SIGTERM, then SIGKILL to its whole group."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", module], env=dict(variables), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                running.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)  # also what a killed supervisor left behind
        running.wait(10)


def wait_until(condition: Callable[[], bool], seconds: float, log: Path | None = None) -> None:
    """Wait for the condition; on failure show the end of the log."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            tail = log.read_text(errors="replace")[-3000:] if log else ""
            raise AssertionError(f"not within {seconds} s; {tail}")
        time.sleep(0.02)


def status(url: str) -> int:
    """The status of GET `url`; 0 when nobody answers."""
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


@dataclass(frozen=True)
class Served:
    """A gateway process."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    metrics_port: int
    admin_port: int

    @property
    def url(self) -> str:
        """Where its HTTP door listens."""
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))

    def inside(self) -> dict[str, Any]:
        """What the admin API says of the process."""
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return dict(httpx.get(f"http://127.0.0.1:{self.admin_port}/admin/v1/status", headers=headers).json())


@contextmanager
def gateway(repository: Path, logs: Path, *tritons: int, **settings: str | float) -> Iterator[Served]:
    """A gateway in front of Tritons on these ports, ready; `settings` as in `environment`."""
    port, grpc_port, metrics_port, admin_port = free_ports(4)
    admin_keys = logs / f"admin-{port}.keys"
    admin_keys.write_text(f"{hashlib.sha256(ADMIN_KEY.encode()).hexdigest()} tests\n")
    log = logs / f"gateway-{port}.log"
    variables = environment(
        **{"gateway_drain_s": 0, "admin_port": admin_port, "admin_key_file": admin_keys, **settings},
        model_repository=repository,
        triton_urls=",".join(f"127.0.0.1:{triton}" for triton in tritons),
        http_port=port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
    )
    with process("gateway", variables, log) as running:
        wait_until(lambda: status(f"http://127.0.0.1:{port}/readyz") == 200, 20, log)
        yield Served(running, port, grpc_port, metrics_port, int(settings.get("admin_port", admin_port)))
