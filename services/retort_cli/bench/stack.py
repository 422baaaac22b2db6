"""The stack: model servers, gateways and the no-op server as child processes on free ports, always ended together."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from retort_cli.bench import noop
from retort_cli.part import Part, start
from retort_cli.up import wait_ready

# Measured bare and on loopback, whatever the caller's own deployment says.
ALWAYS = {
    "RETORT_HOST": "127.0.0.1",
    "RETORT_TRITON_HOST": "127.0.0.1",
    "RETORT_AUTH": "off",
    "RETORT_API_KEYS_FILE": "",
    "RETORT_CACHE": "off",
    "RETORT_GATEWAY_DRAIN_S": "0",  # nobody waits for these gateways
}


@dataclass(frozen=True)
class Server:
    """A running part and where it listens."""

    part: Part
    http: int
    grpc: int = 0
    metrics: int = 0

    @property
    def resident_mb(self) -> float:
        """Return the resident memory of the process and its children."""
        return sum(resident_kb(pid) for pid in descendants(self.part.process.pid)) / 1024


class Stack:
    """Starts parts on one repository; `with` ends them, the last one first."""

    def __init__(self, repository: Path, logs: Path) -> None:
        self._repository, self._logs = repository, logs
        self._running = ExitStack()
        self._parts: list[Part] = []

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def model_server(self, name: str, **settings: str) -> Server:
        """Start Triton and its loader; `settings` are RETORT_* without the prefix."""
        http, grpc, metrics, loader = free_ports(4)
        ports = {"TRITON_HTTP_PORT": http, "TRITON_GRPC_PORT": grpc, "TRITON_METRICS_PORT": metrics}
        part = self._start(name, "model_server", settings, ports | {"LOADER_PORT": loader}, loader)
        return Server(part, http, grpc, metrics)

    def gateway(self, name: str, triton: Server, model: str, **settings: str) -> Server:
        """Start a gateway in front of `triton` whose /predict asks `model`."""
        http, grpc, admin, metrics = free_ports(4)
        ports = {"HTTP_PORT": http, "GRPC_PORT": grpc, "ADMIN_PORT": admin, "METRICS_PORT": metrics}
        settings = {"TRITON_URLS": f"127.0.0.1:{triton.grpc}", "DEFAULT_MODEL": model, **settings}
        return Server(self._start(name, "gateway", settings, ports, http), http, grpc, metrics)

    def noop(self, name: str) -> Server:
        """Start the FastAPI route that does nothing."""
        (http,) = free_ports(1)
        return Server(self._start(name, noop.__name__, {}, {noop.PORT.removeprefix("RETORT_"): http}, http), http)

    def _start(self, name: str, module: str, settings: dict[str, str], ports: dict[str, int], answers_at: int) -> Part:
        environment = {
            **ALWAYS,
            "RETORT_MODEL_REPOSITORY": str(self._repository),
            **{f"RETORT_{key}": str(value) for key, value in (settings | ports).items()},
        }
        part = start(name, module, self._logs / f"{name.replace(' ', '-')}.log", environment)
        self._running.callback(part.stop)
        self._parts.append(part)
        wait_ready(self._parts, f"http://127.0.0.1:{answers_at}/readyz")
        return part


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback ports that were free a moment ago."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def descendants(pid: int) -> Sequence[int]:
    """Return the process and everything below it that runs."""
    found = [pid]
    for parent in found:  # grows while it is walked
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(int(child) for child in task.read_text().split())
    return found


def resident_kb(pid: int) -> int:
    """Return VmRSS; 0 of a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
