"""The report of a run: JSON for programs, Markdown for people."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from retort_cli.bench.compare import Comparison
from retort_cli.bench.doors import Doors
from retort_cli.bench.ladder import REFERENCE_PRODUCT, Ladder
from retort_cli.bench.load import Row, doubts
from retort_cli.bench.machine import Machine
from retort_cli.bench.open_loop import OpenLoop
from retort_cli.bench.plan import Plan
from retort_cli.bench.soak import GROWTH_TARGET_MB, RESIDENT_TARGET_MB, Soak


@dataclass(frozen=True)
class Subject:
    """The model that was measured, and the mean length of the texts in its tokens."""

    model: str
    version: int
    digest: str
    artefact: str
    mean_tokens: float


@dataclass(frozen=True)
class Report:
    """A section that is None is in `skipped` with the reason, or was not asked for."""

    command: str
    started_at: str
    subject: Subject
    plan: Plan
    machine: Machine
    http_driver: str
    compare: Comparison | None = None
    doors: Doors | None = None
    ladder: Ladder | None = None
    open_loop: OpenLoop | None = None
    soak: Soak | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """Return every row of every section."""
        found = [*(self.compare.rows if self.compare else ()), *(self.doors.rows if self.doors else ())]
        found += [rung.row for rung in self.ladder.rungs] if self.ladder else []
        return found + ([self.open_loop.row] if self.open_loop else [])

    @property
    def warnings(self) -> list[str]:
        """Return what to doubt: the machine, the drivers, the rows."""
        found = [*self.machine.warnings, *self.notes, *doubts(self.rows)]
        if self.soak and self.soak.errors:
            found.append(f"soak: {self.soak.errors} requests failed")
        return found

    def as_json(self) -> str:
        """Return everything; what cannot be a JSON number is null."""
        content = asdict(self) | {"warnings": self.warnings}
        return json.dumps(_plain(content), indent=2) + "\n"

    def as_markdown(self) -> str:
        """Return the tables."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        subject, machine = self.subject, self.machine
        yield f"# retort bench, {self.started_at}"
        yield ""
        yield f"`{self.command}`"
        yield ""
        yield f"- model: {subject.model} {subject.version} ({subject.artefact}), {subject.digest}"
        yield f"- texts: {subject.mean_tokens:.1f} tokens on average, every one different"
        yield f"- machine: {machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB; {machine.system}"
        yield f"- software: Python {machine.python}, {_pairs(machine.packages)}; commit {machine.commit}"
        yield f"- drivers: {_pairs(machine.programs)}; closed-loop HTTP by {self.http_driver}"
        yield f"- settings: {_pairs(machine.settings) or 'the defaults'}"
        yield f"- medians of {self.plan.rounds} x {self.plan.seconds} s, everything on this machine's own processors"
        for warning in self.warnings:
            yield f"- **warning:** {warning}"
        for section, reason in self.skipped.items():
            yield f"- **skipped:** {section}: {reason}"
        for lines in (self._compare(), self._doors(), self._ladder(), self._open_loop(), self._soak()):
            yield from lines

    def _compare(self) -> Iterator[str]:
        if (found := self.compare) is None:
            return
        best = found.arrangement
        yield from _title("Gateway, Triton alone, no-op route")
        yield from _table(found.rows, shares=True)
        yield ""
        yield (
            f"Ceiling: {found.ceiling_rps:.0f} texts/s (tokenise + batch + ONNX Runtime, no server; "
            f"{best.processes} processes x {best.threads} threads, batches of {best.batch_size})."
        )
        if found.added_p50_ms is not None:
            yield f"At one connection the gateway's p50 is {found.added_p50_ms:.2f} ms above Triton's (two drivers)."

    def _doors(self) -> Iterator[str]:
        if (found := self.doors) is None:
            return
        yield from _title("gRPC door and HTTP door, one text, one driver")
        yield from _table(found.rows)
        yield ""
        shares = ", ".join(f"{share:.2f} at c={count}" for count, share in found.grpc_of_http.items())
        yield f"gRPC door's rate as a share of /predict's: {shares}."
        if found.added_p50_ms is not None:
            yield f"At one connection /predict's p50 is {found.added_p50_ms:.2f} ms above Triton's, same driver."

    def _ladder(self) -> Iterator[str]:
        if (found := self.ladder) is None:
            return
        yield from _title("The ladder")
        yield from _table([rung.row for rung in found.rungs], gains=[rung.gain for rung in found.rungs])
        yield ""
        yield f"Model server of the lowest two rungs: {found.base}, the fastest choice here for one call at a time."
        yield f"Product {found.product:.1f}x; the reference chapter reports {REFERENCE_PRODUCT}x for its own steps."
        if found.note:
            yield f"Note: {found.note}."

    def _open_loop(self) -> Iterator[str]:
        if (found := self.open_loop) is None:
            return
        yield from _title(f"Open loop, {found.rate:g} requests/s")
        yield from _table([found.row])
        yield ""
        yield f"p99 below {found.p99_target_ms:g} ms without errors: {_verdict(met=found.is_met)}."

    def _soak(self) -> Iterator[str]:
        if (found := self.soak) is None:
            return
        first, last = found.samples[0], found.samples[-1]
        yield from _title("Memory of the gateway")
        yield (
            f"{first.resident_mb:.1f} MB after a warm-up of {found.warmup_requests} requests, "
            f"{last.resident_mb:.1f} MB after {found.requests} more: {found.growth_mb:+.1f} MB. "
            f"Growth below {GROWTH_TARGET_MB:g} MB, below {RESIDENT_TARGET_MB:g} MB in all, no errors: "
            f"{_verdict(met=found.is_met)}."
        )


def _title(text: str) -> Iterator[str]:
    yield from ("", f"## {text}", "")


def _verdict(*, met: bool) -> str:
    return "yes" if met else "**no**"


def _pairs(named: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _table(rows: Sequence[Row], *, shares: bool = False, gains: Sequence[float] = ()) -> Iterator[str]:
    head = ["what", "c", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "driver"]
    extra = ["of the ceiling"] if shares else ["gain"] if gains else []
    lines = [[*head[:3], *extra, *head[3:]]]
    for number, row in enumerate(rows):
        share = [f"{row.ceiling_share:.2f}" if row.ceiling_share else "-"] if shares else []
        gain = [f"{gains[number]:.2f}x" if number else "-"] if gains else []
        latencies = [f"{value:.2f}" for value in (row.p50_ms, row.p95_ms, row.p99_ms)]
        lines.append(
            [row.name, str(row.connections), f"{row.rps:.0f}", *share, *gain, *latencies, str(row.errors), row.driver]
        )
    widths = [max(2, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    for number, line in enumerate(lines):
        yield _line(
            cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        if not number:
            yield _line(
                "-" * width if column in (0, len(widths) - 1) else "-" * (width - 1) + ":"
                for column, width in enumerate(widths)
            )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
