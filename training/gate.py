"""The gate: which artefact may be published, if any. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.config import Gate
from training.errors import GateError


@dataclass(frozen=True)
class Entry:
    """What the gate looks at: metric (on the validation split) and flip rate are shares, `latency_ms` is typical."""

    artefact: str
    metric: float
    batch_flip_rate: float
    latency_ms: float


@dataclass(frozen=True)
class Verdict:
    """Whether an artefact may be published, and why or by how much it missed."""

    artefact: str
    admitted: bool
    reason: str


def judge(entry: Entry, fp32: float, rules: Gate) -> Verdict:
    """Judge one artefact against the FP32 student's metric."""
    misses = []
    drop = fp32 - entry.metric
    # Strictly less than half a point, with room for the rounding of two shares.
    if entry.artefact != "fp32" and not drop < rules.max_drop - 1e-12:
        misses.append(
            f"loses {_points(drop)} points against the FP32 student ({_points(fp32)} to {_points(entry.metric)} %), "
            f"allowed are less than {_points(rules.max_drop)}: {_points(drop - rules.max_drop)} too many"
        )
    if entry.batch_flip_rate > 0 and not rules.allow_batch_variance:
        misses.append(
            f"{_points(entry.batch_flip_rate)} % of the texts get another label in a batch than alone, allowed are none"
        )
    if misses:
        return Verdict(entry.artefact, admitted=False, reason="; ".join(misses))
    flips = f", {_points(entry.batch_flip_rate)} % of labels flip in batches" if entry.batch_flip_rate else ""
    change = f"loses {_points(drop)}" if drop >= 0 else f"gains {_points(-drop)}"
    return Verdict(entry.artefact, admitted=True, reason=f"{change} points{flips}")


def verdicts(entries: Sequence[Entry], fp32: float, rules: Gate) -> dict[str, Verdict]:
    """Judge every artefact."""
    return {entry.artefact: judge(entry, fp32, rules) for entry in entries}


def choose(entries: Sequence[Entry], judged: Mapping[str, Verdict]) -> str:
    """Return the fastest admitted artefact; raises GateError when none is admitted."""
    admitted = [entry for entry in entries if judged[entry.artefact].admitted]
    if not admitted:
        reasons = ". ".join(f"{verdict.artefact} {verdict.reason}" for verdict in judged.values())
        raise GateError(f"nothing is published, the gate refuses every artefact: {reasons}")
    return min(admitted, key=lambda entry: entry.latency_ms).artefact


def _points(share: float) -> str:
    return f"{100 * share:.2f}"
