"""A finding of the preflight: what was looked at, how it is, and what to change if it is not well."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How serious a finding is; a failure stops the run."""

    FINE = "fine"
    WARNING = "warning"
    FAILURE = "FAILURE"


@dataclass(frozen=True)
class Finding:
    """`subject: found`, and `change`, the sentence that says what to do (empty when it is fine)."""

    level: Level
    subject: str
    found: str
    change: str = ""


def limit(subject: str, found: str, *, share: float, most: float, change: str) -> Finding:
    """A failure above `most`, a warning above zero."""
    if share > most:
        return Finding(Level.FAILURE, subject, f"{found}, more than the {most:.1%} allowed", change)
    return Finding(Level.WARNING if share else Level.FINE, subject, found, change if share else "")
