"""Processes as tests look at them: whether one is still there."""

from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
