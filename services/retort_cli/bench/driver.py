"""A driver in Python: a module of this package, run as a process of its own so that it shares no lock with us."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retort_cli.bench.load import Load
from retort_cli.errors import CommandError


def run_program(command: Sequence[str], folder: Path, timeout_s: float, *, job: str = "") -> str:
    """Run `command` in `folder` and return what it prints; CommandError has its last words when it fails."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            output, complaint = process.communicate(job, timeout_s)
        except BaseException as error:  # Ctrl-C as well: it and its children must not go on working
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(f"{shlex.join(command)} did not end within {timeout_s:.0f} s") from error
            raise
    if process.returncode:
        words = (complaint.strip() or output.strip() or "(it said nothing)").splitlines()[-1]
        raise CommandError(f"{shlex.join(command)} failed: {words}")
    return output


def run_driver(module: str, job: dict[str, Any], folder: Path, timeout_s: float) -> Any:
    """Give `job` as JSON to `python -m module` and return the JSON that it prints."""
    return json.loads(run_program([sys.executable, "-m", module], folder, timeout_s, job=json.dumps(job)))


def run_load(module: str, job: dict[str, Any], folder: Path, timeout_s: float) -> Load:
    """Run a driver that prints a Load."""
    return Load(**run_driver(module, job, folder, timeout_s))
