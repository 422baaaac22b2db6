"""The out-of-memory ladder: how a step is computed with less memory, without changing what it computes. Pure."""

from dataclasses import dataclass

import torch

from training.errors import MemoryShortageError

# Below this many rows a device idles between small kernels: computing activations twice (a third more time) is cheaper.
FEW_ROWS = 4


@dataclass(frozen=True)
class Rung:
    """At most `rows` rows are computed at once; `checkpointed`: activations are computed again, not kept."""

    rows: int
    checkpointed: bool = False

    def __str__(self) -> str:
        return f"{self.rows} rows at once" + (", activations are computed again" if self.checkpointed else "")

    def lower(self) -> "Rung":
        """The next rung down: half the rows (twice the accumulation), then checkpointing, then single rows."""
        if self.rows > FEW_ROWS or (self.checkpointed and self.rows > 1):
            return Rung(-(-self.rows // 2), self.checkpointed)
        if not self.checkpointed:
            return Rung(self.rows, checkpointed=True)
        raise MemoryShortageError(
            "a single row does not fit into memory, even with gradient checkpointing: lower max_length or take a "
            "smaller teacher"
        )

    def divide(self, rows: list[int]) -> list[list[int]]:
        """Divide a step's rows into what is computed at once."""
        return [rows[start : start + self.rows] for start in range(0, len(rows), self.rows)]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out: on a processor torch raises a plain RuntimeError from its allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
