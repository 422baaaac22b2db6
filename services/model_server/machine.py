"""The machine: whether the unpacked Triton wheel can run here, and what it offers to a model."""

import ctypes.util
import os
import platform
import socket
import sys
import sysconfig
from pathlib import Path

from model_server.errors import MachineError

PYTHONS = ((3, 11), (3, 12), (3, 13))
OLDEST_GLIBC = (2, 35)
WHEEL = "nvidia-pytriton==0.7.0"


def check(triton_home: Path) -> None:
    """Raise MachineError, one sentence, unless the Triton unpacked into `triton_home` can run here."""
    python = sys.version_info[:2]
    if platform.python_implementation() != "CPython" or python not in PYTHONS:
        raise MachineError(
            f"Triton's Python backend supports CPython 3.11, 3.12 and 3.13, and this is {platform.python_version()}"
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MachineError(f"the Triton wheel is for Linux x86-64, and this is {sys.platform} {platform.machine()}")
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) < OLDEST_GLIBC:
        raise MachineError(
            f"the Triton wheel needs glibc 2.35 or newer, and this is {name or 'another libc'} {version}"
        )
    if not server(triton_home).is_file():
        raise MachineError(
            f"there is no Triton in {triton_home}: `make up` installs it, or "
            f"pip install --no-deps --target {triton_home} {WHEEL}"
        )
    libpython_folder()


def server(triton_home: Path) -> Path:
    """Return the path of the tritonserver program."""
    return triton_home / "pytriton" / "tritonserver" / "bin" / "tritonserver"


def libpython_folder() -> Path:
    """Return the folder of the shared libpython, which Triton's Python stub is linked against."""
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    configured = sysconfig.get_config_var("LIBDIR") or ""
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in (Path(configured), Path(configured, multiarch), Path(sys.base_prefix, "lib")):
        if (folder / name).is_file():
            return folder
    if ctypes.util.find_library(f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        return Path(configured)  # the dynamic linker finds it by itself
    raise MachineError(
        f"this Python has no shared {name} (on Debian and Ubuntu: apt-get install "
        f"libpython{sys.version_info[0]}.{sys.version_info[1]}; with pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)"
    )


def check_port(host: str, port: int, use: str, variable: str) -> None:
    """Raise MachineError when `port` cannot be listened on: Triton's own message comes late and names no setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise MachineError(f"{host}:{port} ({use}) cannot be used: {error.strerror}; set {variable}") from error


def cores() -> int:
    """Return how many processors this process may use: its affinity, and the container's CPU quota if there is one."""
    allowed = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()[:2]
        if limit != "max":
            allowed = min(allowed, max(1, round(int(limit) / int(period))))
    return allowed
