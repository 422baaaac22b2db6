"""The machine as a training run sees it: device, number format, and the processes that share the work.

`torchrun` starts several processes and says so in the environment; without it there is one. Every process holds the
whole model; each computes its share of a step's rows, and the gradients are added up once a step.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch import distributed as dist

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """Where this process computes; `rank` of `size` processes, the first of which leads: it alone writes and speaks."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    format: torch.dtype = torch.float32
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def alone(self) -> "Machine":
        """Return this process as the only one, for what the others have no part in."""
        return Machine(self.device, self.format)

    def autocast(self) -> torch.autocast:
        """Compute matrix products in the machine's number format; does nothing in FP32."""
        return torch.autocast(self.device.type, self.format, enabled=self.format != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps FP16 gradients from vanishing; does nothing in other formats."""
        return torch.amp.GradScaler(self.device.type, enabled=self.format == torch.float16)

    def add_up(self, value: Tensor) -> Tensor:
        """Replace `value` by its sum over all processes and return it."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, here: bool) -> bool:  # noqa: FBT001 - reads as any(condition)
        """Whether it is so in any process."""
        if self.size == 1:
            return here
        return bool(self.add_up(torch.tensor(float(here), device=self.device)) > 0)

    def add_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its sum over all processes, in one exchange.

        Not torch's DDP: that hooks into one forward call, and a distillation step calls the student's encoder twice
        (logits, masked words), in several micro-batches. Overlap with computing is lost; encoders are small.
        """
        if self.size == 1:
            return
        trained = [value for value in model.parameters() if value.requires_grad]
        for value in trained:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        flat = torch.cat([value.grad.flatten() for value in trained if value.grad is not None])
        dist.all_reduce(flat)
        start = 0
        for value in trained:
            value.grad = flat[start : start + value.numel()].view_as(value)
            start += value.numel()

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the leader's weights."""
        if self.size > 1:
            for value in (*model.parameters(), *model.buffers()):
                dist.broadcast(value.detach(), src=0)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join(precision: str) -> Iterator[Machine]:
    """Yield this process's machine; joins the other processes where `torchrun` started several.

    `precision` is fp32, bf16, fp16 or auto: the best that the device computes in.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    number_format = FORMATS[_best_format() if precision == "auto" else precision]
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Machine(device, number_format)
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Machine(device, number_format, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def seed_everything(*parts: object) -> None:
    """Seed torch's generators from `parts`, the same way on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7]))


def _best_format() -> str:
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    processor = torch.cpu.get_capabilities()
    return "bf16" if processor.get("avx512_bf16") or processor.get("amx_bf16") else "fp32"
