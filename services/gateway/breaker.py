"""A circuit breaker: when one model server is left alone, and how soon it is looked at again. No clock, no input."""

from dataclasses import dataclass

MAX_FAILURES = 3
# The longest wait must leave room in two seconds, the promise for full service, for a connection and a probe.
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 0.5


# Our own rather than a library's: those let callers' requests be the half-open trial and read a clock of their own.
# Here the probes that run anyway are the trial, no request is ever spent on one, and what is left is a counter.
@dataclass(slots=True)
class Breaker:
    """Counts failures in a row; open from the third one to the next success."""

    failures: int = 0

    @property
    def is_open(self) -> bool:
        """Whether callers must stay away; only a probe may try."""
        return self.failures >= MAX_FAILURES

    def failed(self) -> None:
        """The server did not answer."""
        self.failures += 1

    def answered(self) -> None:
        """The server answered, be it with an error: it is there."""
        self.failures = 0

    def probe_in_s(self, every_s: float) -> float:
        """Return how long to wait before the next probe: `every_s` in health, a doubling back-off in doubt."""
        if not self.failures:
            return every_s
        return min(every_s, MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self.failures - 1, 10))
