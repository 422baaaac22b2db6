"""Checkpoints: the last three states of a training stage, each a file that carries its own hash in its name."""

import hashlib
import io
import os
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import staging

KEPT = 3
NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.pt")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage in `folder`; `fingerprint` says which training they belong to.

    State is what torch saves with `weights_only`: tensors, numbers, texts, lists and dictionaries.
    """

    folder: Path
    fingerprint: str

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps: it appears whole, and the oldest beyond three go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / ".new"
        with staged.open("wb") as stream:
            torch.save(state | {"fingerprint": self.fingerprint}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        path = self.folder / f"{step:08d}-{_sha256(staged)}.pt"
        staged.rename(path)
        staging.sync(self.folder)
        for other in self.folder.glob(f"{step:08d}-*.pt"):  # of the same step, before a rescue changed the rate
            if other != path:
                other.unlink()
        for old in self._paths()[KEPT:]:
            old.unlink()
        return path

    def latest(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The newest state that is whole and of this training, or None; a torn file is passed over."""
        for path in self._paths():
            state = self._read(path, device)
            if state is not None:
                return state
        return None

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_only(self, step: int, state: dict[str, Any]) -> None:
        """Replace all by this one: the stage is over."""
        kept = self.save(step, state)
        for path in self._paths():
            if path != kept:
                path.unlink()

    def _paths(self) -> list[Path]:
        """Newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if NAME.fullmatch(path.name)), reverse=True)

    def _read(self, path: Path, device: torch.device | str) -> dict[str, Any] | None:
        name = NAME.fullmatch(path.name)
        try:
            content = path.read_bytes()
        except OSError:  # unreadable, or removed by the process that leads
            return None
        if name is None or hashlib.sha256(content).hexdigest() != name.group(2):
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError):  # written whole, by another version of torch
            return None
        return state if state.get("fingerprint") == self.fingerprint else None


def fingerprint(model: torch.nn.Module, *facts: object) -> str:
    """Identify a training by its first weights and everything else that decides it."""
    found = hashlib.sha256(repr(facts).encode())
    for name, value in model.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data if value.numel() else b"")
    return found.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
