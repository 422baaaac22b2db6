"""The journal of a run: one JSON object a line, appended as things happen."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Journal:
    """Writes to `path`; None: nobody reads, nothing is written (tests, and the processes that do not lead)."""

    path: Path | None = None

    def write(self, kind: str, stage: str, **facts: Any) -> None:
        """Append one line: `kind` is step, layers, validation or an event's name."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"at": round(time.time(), 3), "kind": kind, "stage": stage} | _finite(facts)
        with self.path.open("a", encoding="utf-8") as stream:
            if stream.tell() and not _ends_its_line(self.path):  # a killed run left half a line
                stream.write("\n")
            stream.write(json.dumps(line) + "\n")

    def forget(self, stage: str) -> None:
        """Drop the lines of a stage that starts anew."""
        if self.path is None or not self.path.exists():
            return
        kept = [entry for entry in read(self.path) if entry["stage"] != stage]
        staged = self.path.with_name(f".{self.path.name}.new")
        staged.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        staged.replace(self.path)


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole line; where a resumed run computed a step again, the later line of that step alone."""
    found: dict[object, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # torn by a kill
            continue
        repeated = entry["kind"] in ("step", "layers", "validation")
        key = (entry["kind"], entry["stage"], entry["step"]) if repeated else number
        found.pop(key, None)
        found[key] = entry
    return list(found.values())


def curve(entries: list[dict[str, Any]], stage: str, kind: str, value: str) -> dict[int, float]:
    """`value` by step; what was not finite is NaN."""
    return {
        entry["step"]: math.nan if entry[value] is None else entry[value]
        for entry in entries
        if (entry["stage"], entry["kind"]) == (stage, kind)
    }


def _ends_its_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _finite(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: None stands for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()
    }
