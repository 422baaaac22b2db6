"""Staging: what is written to the model repository appears there whole, by a rename, or not at all."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".publish-"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the repository's lock: writers take turns, so the next free number stays free."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Yield an empty folder on the filesystem of `parent` that readers ignore; removed at the end if still there."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    folder.chmod(0o755)  # mkdtemp's 0700 would lock out servers that run as another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_killed_attempts(*parents: Path) -> None:
    """Remove what killed writers left behind; safe while the lock is ours."""
    for parent in parents:
        for leftover in parent.glob(f"{PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file and wait for the disk."""
    path.write_bytes(content)
    sync(path)


def replace(path: Path, content: bytes) -> None:
    """Replace a file by a rename."""
    staged = path.with_name(f".{path.name}.new")
    write(staged, content)
    staged.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
