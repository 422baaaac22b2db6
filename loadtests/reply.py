"""A reply: what came back on one question, over whichever protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["answered", "shed", "failed"]
STEP = re.compile(r"([\w-]+);dur=([0-9.]+)")


@dataclass(frozen=True)
class Reply:
    """Labels, one a text ("" where the model has none), and what the gateway told about itself."""

    outcome: Outcome
    labels: Sequence[str] = ()
    problem: str = ""
    cache: str = ""
    steps_ms: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Sequence[str] | None, wanted: int, headers: Mapping[str, str]) -> Reply:
        """An answer, if it has as many labels as texts were sent; `headers` have names in lower case."""
        if labels is None or len(labels) != wanted:
            return cls("failed", problem=f"the answer does not hold {wanted} predictions")
        return cls("answered", labels, "", headers.get("x-cache", ""), steps_ms(headers.get("server-timing", "")))


def steps_ms(server_timing: str) -> dict[str, float]:
    """Read `queue;dur=1.5, total;dur=3`."""
    return {step: float(took_ms) for step, took_ms in STEP.findall(server_timing)}
