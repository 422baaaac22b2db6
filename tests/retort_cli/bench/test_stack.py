"""The stack: resident memory of a process and its children."""

import os
import subprocess
import sys

from retort_cli.bench.stack import descendants, free_ports, resident_kb

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=sys.stdin, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_children_are_found() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert list(descendants(parent.pid)) == [parent.pid, child]
        assert resident_kb(child) > 1000
        parent.communicate("\n", timeout=20)
    assert resident_kb(child) == 0
    assert resident_kb(os.getpid()) > 10_000


def test_free_ports_differ() -> None:
    assert len(set(free_ports(8))) == 8
