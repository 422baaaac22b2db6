"""The place of a worker: which of how many it is, and what the supervisor hands it."""

from dataclasses import asdict, dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Place:
    """Goes to the worker as its argument; `control` and `buckets` are file descriptors, ports are claimed ones.

    `replaces`: others serve already, so that this one may wait until it can answer.
    """

    workers: int
    http_port: int
    grpc_port: int
    buckets: int
    log_level: str
    admin_port: int = 0
    index: int = 0
    control: int = -1
    replaces: bool = False

    def share(self, whole: int) -> int:
        """Return this worker's part of a bound that holds for all of them together."""
        return whole // self.workers + (self.index < whole % self.workers)

    def dumps(self) -> str:
        """Return it as an argument."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def loads(cls, argument: str) -> "Place":
        """Read the argument."""
        return cls(**orjson.loads(argument))
