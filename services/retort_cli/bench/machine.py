"""The machine: what the figures depend on besides the code, and what made it a bad moment to measure."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model_server.machine import cores

PACKAGES = ("retort", "fastapi", "starlette", "uvicorn", "grpcio", "tokenizers", "onnxruntime", "tritonclient")
# What may change the measured speed; nothing that can hold a secret or name this machine.
SETTINGS = re.compile(r"RETORT_(GATEWAY_[A-Z_]+|INSTANCES|THREADS|WORKERS|CACHE)")
BUSY_LOAD = 0.5


@dataclass(frozen=True)
class Machine:
    """Facts; no host name, no paths."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: dict[str, str]
    programs: dict[str, str]
    commit: str
    settings: dict[str, str]
    load_average: float

    @property
    def warnings(self) -> list[str]:
        """Return what is wrong with this moment."""
        if self.load_average <= BUSY_LOAD:
            return []
        return [f"the load average was {self.load_average:.2f} at the start: other work shares the processor"]


def look(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return the facts of now."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=processor(Path("/proc/cpuinfo").read_text()),
        cores=cores(),
        memory_gb=round(memory / 2**30, 1),
        system=f"{platform.system()} {platform.release()}, glibc {platform.libc_ver()[1]}",
        python=platform.python_version(),
        packages=_packages(),
        programs={name: _says(name, "--version") for name in ("wrk", "h2load")},
        commit=_says("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"),
        settings={name: value for name, value in environment.items() if SETTINGS.fullmatch(name)},
        load_average=round(os.getloadavg()[0], 2),
    )


def processor(cpuinfo: str) -> str:
    """Return the processor's name as /proc/cpuinfo has it."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _says(program: str, *arguments: str) -> str:
    """Return the first line that a program prints, or that it is not there. (wrk --version ends with 1.)"""
    if shutil.which(program) is None:
        return "not installed"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout.strip().splitlines() or ["unknown"])[0].removeprefix(program).split(" Copyright")[0].strip()
