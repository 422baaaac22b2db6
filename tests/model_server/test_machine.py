"""The machine: what cannot run Triton is refused in one sentence that says what to do."""

import ctypes.util
import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from model_server import machine
from model_server.errors import MachineError

HOME = Path(sys.prefix, "triton")


def test_this_machine_is_fine() -> None:
    machine.check(HOME)


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("sys.version_info", (3, 10, 1), "supports CPython 3.11, 3.12 and 3.13"),
        ("platform.python_implementation", lambda: "PyPy", "supports CPython"),
        ("platform.machine", lambda: "aarch64", "Linux x86-64, and this is linux aarch64"),
        ("platform.libc_ver", lambda: ("glibc", "2.31"), "glibc 2.35 or newer, and this is glibc 2.31"),
        ("platform.libc_ver", lambda: ("", ""), "this is another libc"),
    ],
)
def test_another_machine_is_refused(what: str, value: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = what.split(".")
    monkeypatch.setattr({"sys": sys, "platform": platform}[module], name, value)
    with pytest.raises(MachineError, match=said):
        machine.check(HOME)


def test_a_missing_wheel_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=f"there is no Triton in {tmp_path}: `make up` installs it"):
        machine.check(tmp_path)


def test_a_python_without_shared_library_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(ctypes.util, "find_library", lambda _name: None)
    with pytest.raises(MachineError, match="apt-get install libpython3"):
        machine.libpython_folder()


def test_cores_are_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= machine.cores() <= len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    monkeypatch.setattr(Path, "is_file", lambda _path: True)
    for quota, expected in (("max 100000", 3), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 3)):
        monkeypatch.setattr(Path, "read_text", lambda _path, quota=quota: quota)
        assert machine.cores() == expected
