"""The setup: everything that a section of the benchmark may use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retort_cli.bench.model import Model
from retort_cli.bench.plan import Plan
from retort_cli.bench.sockets import Sockets
from retort_cli.bench.stack import Server, Stack
from retort_cli.bench.wrk import Wrk


@dataclass(frozen=True)
class Setup:
    """`http` is the lightest closed-loop driver here; drivers run and write in `folder`."""

    plan: Plan
    model: Model
    texts: list[str]
    cores: int
    fp32_name: str | None
    folder: Path
    stack: Stack
    triton: Server
    gateway: Server
    http: Wrk | Sockets
    sockets: Sockets
    say: Callable[[str], None]
