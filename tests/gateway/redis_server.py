"""A real redis-server for tests: started on a free port, ended by its pid."""

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


@contextmanager
def redis_server(folder: Path, port: int, password: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run an empty Redis on the port."""
    log = folder / "redis.log"
    command = [str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
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
