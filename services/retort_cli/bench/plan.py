"""The plan: how long, how often and with how many connections everything is measured."""

from dataclasses import dataclass

BUSY = 32


@dataclass(frozen=True)
class Plan:
    """Times in whole seconds, which is what wrk and h2load take."""

    seconds: int
    rounds: int
    warmup_s: int
    connections: tuple[int, ...]
    open_loop_rate: float
    open_loop_s: int
    soak_requests: int

    @property
    def busy(self) -> int:
        """Return the connections where one number has to do: 32, or the nearest below that was asked for."""
        return max((count for count in self.connections if count <= BUSY), default=min(self.connections))
