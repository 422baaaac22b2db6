"""h2load: one driver for HTTP/1.1 and for gRPC over HTTP/2, so that the two doors can be compared."""

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from retort_cli.bench.driver import run_program
from retort_cli.bench.load import Load, measured
from retort_cli.errors import CommandError

LOG = "h2load.log"
MISSING = "h2load is not installed (Debian and Ubuntu: apt-get install nghttp2-client)"


@dataclass(frozen=True)
class Door:
    """Where h2load knocks, and with what: it sends one and the same body every time."""

    name: str
    url: str
    body: Path
    headers: Mapping[str, str]
    http1: bool


def is_installed() -> bool:
    """Whether h2load is on PATH."""
    return shutil.which("h2load") is not None


def load(door: Door, connections: int, seconds: int, folder: Path) -> Load:
    """Keep one request in flight on each of `connections` connections for `seconds`."""
    command = [
        *("h2load", f"--clients={connections}", f"--duration={seconds}", f"--log-file={LOG}", f"-d{door.body.name}"),
        *(["--h1"] if door.http1 else ["--max-concurrent-streams=1"]),
        *(part for name, value in door.headers.items() for part in ("-H", f"{name}: {value}")),
        door.url,
    ]
    (folder / LOG).unlink(missing_ok=True)  # h2load would append to it
    output = run_program(command, folder, seconds + 30)
    return parse(output, (folder / LOG).read_text().splitlines(), shlex.join(command), connections)


def parse(output: str, log: Iterable[str], command: str, connections: int) -> Load:
    """Read h2load's summary (how many, how long) and its log (start, status, microseconds a request)."""
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s), ", output, re.MULTILINE)
    failed = re.search(r"^requests: .*? (\d+) failed", output, re.MULTILINE)
    if finished is None or failed is None:
        raise CommandError(f"{command} printed no summary, but: {output.strip()[-300:]}")
    seconds = float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished[2]]
    requests = [line.split("\t") for line in log]
    taken_ms = [int(taken) / 1e3 for _, status, taken, *_ in requests if status.startswith("2")]
    refused = len(requests) - len(taken_ms)
    return measured("h2load", command, connections, seconds, taken_ms, max(refused, int(failed[1])))


def grpc_frame(message: bytes) -> bytes:
    """Return the message as gRPC sends it: not compressed, its length in front."""
    return b"\0" + len(message).to_bytes(4, "big") + message
