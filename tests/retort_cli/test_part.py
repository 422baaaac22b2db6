"""Parts: real child processes, ended on request and when their starter dies."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retort_cli.part import Part, start
from tests.processes import alive

PROGRAM = """
import signal, subprocess, sys, time
print("hello from the part", flush=True)
if "stubborn" in __import__("os").environ.get("MANNER", ""):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_part.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "a_part"


def wait_for_ready(part: Part) -> None:
    deadline = time.monotonic() + 20
    while "ready" not in part.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_output_goes_to_the_log(module: str, tmp_path: Path) -> None:
    part = start("part", module, tmp_path / "logs" / "part.log", {})
    try:
        wait_for_ready(part)
        assert part.returncode is None
        assert part.tail() == "  hello from the part\n  ready"
        assert part.tail(1) == "  ready"
    finally:
        part.stop()
    assert part.returncode == -signal.SIGTERM


def test_a_part_that_ignores_sigterm_is_killed(module: str, tmp_path: Path) -> None:
    part = start("part", module, tmp_path / "part.log", {"MANNER": "stubborn"})
    wait_for_ready(part)
    part.stop(timeout_s=0.2)
    assert part.returncode == -signal.SIGKILL


def test_a_part_ends_when_its_starter_is_killed(module: str, tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    code = (
        "import time; from pathlib import Path; from retort_cli.part import start\n"
        f"print(start('part', {module!r}, Path({str(log)!r}), {{}}).process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert alive(pid)
        starter.kill()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, "the part outlived its starter"
        time.sleep(0.02)
