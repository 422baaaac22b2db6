"""The Redis that compose starts, with a real redis-server: what must survive a restart survives, what may go goes."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.ports import free_ports

SERVER = shutil.which("redis-server")
COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"

pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed (apt-get install redis-server)")


@contextmanager
def redis(data: Path) -> Iterator[int]:
    """Run compose's own command line in `data`; yield the port."""
    command = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]["command"]
    assert command[0] == "redis-server"
    arguments = [str(data) if word == "/data" else word for word in command[1:]]
    (port,) = free_ports(1)
    with subprocess.Popen(
        [str(SERVER), *arguments, "--port", str(port), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                if ask(port, "PING") == "+PONG":
                    break
            except OSError:
                time.sleep(0.05)
        yield port
        process.send_signal(signal.SIGKILL)  # nothing is saved on the way out


def ask(port: int, *words: str) -> str:
    """Send one command; return the whole answer as Redis wrote it, without the last line end."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        return connection.recv(4096).decode().strip()


def test_routes_survive_a_kill(tmp_path: Path) -> None:
    with redis(tmp_path) as port:
        assert ask(port, "SET", "retort:route", "stable") == "+OK"
        time.sleep(1.2)  # the append-only file is synced every second
    with redis(tmp_path) as port:
        assert ask(port, "GET", "retort:route").endswith("stable")


def test_only_entries_with_a_time_to_live_are_evicted(tmp_path: Path) -> None:
    with redis(tmp_path) as port:
        assert ask(port, "CONFIG", "GET", "maxmemory-policy").endswith("volatile-lru")
        assert not ask(port, "CONFIG", "GET", "maxmemory").endswith("\r\n0")
