"""Drivers: their last words are shown, and nothing of them goes on working."""

import sys
import time
from pathlib import Path

import pytest

from retort_cli.bench.driver import run_program
from retort_cli.errors import CommandError
from tests.processes import alive

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("pid", "w").write(str(child.pid))
time.sleep(60)
"""


def test_the_last_words_of_a_failure_are_shown(tmp_path: Path) -> None:
    code = "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"
    with pytest.raises(CommandError, match="failed: no such thing"):
        run_program([sys.executable, "-c", code], tmp_path, 20)
    echo = "import os, sys; print(sys.stdin.read() + os.getcwd())"
    assert run_program([sys.executable, "-c", echo], tmp_path, 20, job="in ") == f"in {tmp_path}\n"


def test_a_driver_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="did not end within 2 s"):
        run_program([sys.executable, "-c", PARENT], tmp_path, 2)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
