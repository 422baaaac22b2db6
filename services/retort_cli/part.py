"""A part: one named child process with a log file, ended together with everything it started."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Part:
    """A running module (`python -m module`) whose output goes to `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def returncode(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.process.poll()

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, indented."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"  {line}" for line in text) or "  (its log is empty)"

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ask it to end (SIGTERM: a part ends its own children), then insist."""
        if self.returncode is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def start(name: str, module: str, log: Path, environment: Mapping[str, str]) -> Part:
    """Start `python -m module` in a session of its own, so that Ctrl-C reaches it only through `Part.stop`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    return Part(name, process, log)


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the starter dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
