"""A driver in Python: a module of this package, run as a process of its own so that it shares no lock with us."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retort_cli.bench.load import Load
from retort_cli.errors import CommandError


def run_program(command: Sequence[str], folder: Path, timeout_s: float, *, job: str = "") -> str:
    """Run `command` in `folder` and return what it prints; CommandError has its last words when it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, input=job, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{command[0]} did not end within {timeout_s:.0f} s: {shlex.join(command)}") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or "(it said nothing)").splitlines()[-1]
        raise CommandError(f"{shlex.join(command)} failed: {words}")
    return done.stdout


def run_driver(module: str, job: dict[str, Any], folder: Path, timeout_s: float) -> Any:
    """Give `job` as JSON to `python -m module` and return the JSON that it prints."""
    return json.loads(run_program([sys.executable, "-m", module], folder, timeout_s, job=json.dumps(job)))


def run_load(module: str, job: dict[str, Any], folder: Path, timeout_s: float) -> Load:
    """Run a driver that prints a Load."""
    return Load(**run_driver(module, job, folder, timeout_s))
