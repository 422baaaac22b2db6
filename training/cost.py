"""What a run will need: memory, arithmetic, and time and money for each hardware profile of hardware.toml. Pure."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from training.config import Fit
from training.encoding import PAD_MULTIPLE, length_buckets

PROFILES = Path(__file__).with_name("hardware.toml")
# Weights, gradients and AdamW's two moments in FP32.
BYTES_A_PARAMETER = 16
# What a layer keeps for the way back, for each token and each unit of its width.
BYTES_AN_ACTIVATION = 40


@dataclass(frozen=True)
class Size:
    """A transformer's dimensions; `weights` are those of the layers, without embeddings, which cost no arithmetic."""

    parameters: int
    weights: int
    layers: int
    width: int

    def with_layers(self, layers: int) -> "Size":
        """The same model with another number of layers."""
        weights = self.weights * layers // self.layers
        return Size(self.parameters - self.weights + weights, weights, layers, self.width)


@dataclass(frozen=True)
class Hardware:
    """A machine that one can rent: prices in dollars an hour."""

    name: str
    sustained_teraflops: float
    memory_gb: float
    price: float
    spot_price: float


@dataclass(frozen=True)
class Bill:
    """What the training takes on one machine."""

    hardware: str
    hours: float
    dollars: float
    spot_dollars: float
    fits: bool


def training_bytes(size: Size, rows: int, length: int) -> int:
    """Memory of one training step: parameters x 16 + rows x length x width x layers x 40."""
    return size.parameters * BYTES_A_PARAMETER + rows * length * size.width * size.layers * BYTES_AN_ACTIVATION


def forward_flops(size: Size, rows: int, length: int) -> float:
    """Floating-point operations of one forward pass: two a weight and token, and attention's two products."""
    return rows * length * (2.0 * size.weights + 4.0 * size.layers * length * size.width)


def step_flops(size: Size, rows: int, length: int) -> float:
    """Forward and backward: the way back costs twice the way there."""
    return 3.0 * forward_flops(size, rows, length)


def epoch_shapes(lengths: list[int], fit: Fit, seed: int) -> list[tuple[int, int]]:
    """(rows, padded length) of every step of an epoch."""
    return [
        (len(rows), -(-max(lengths[row] for row in rows) // PAD_MULTIPLE) * PAD_MULTIPLE)
        for rows in length_buckets(lengths, fit.batch_size, seed, 0)
    ]


def fine_tuning_flops(size: Size, lengths: list[int], fit: Fit, seed: int) -> float:
    """All steps of a fine-tuning."""
    return fit.epochs * sum(step_flops(size, *shape) for shape in epoch_shapes(lengths, fit, seed))


def distillation_flops(student: Size, teacher: Size, lengths: list[int], fit: Fit, seed: int, *, live: bool) -> float:
    """All steps of a distillation; a `live` teacher answers every batch, else each text once."""
    shapes = epoch_shapes(lengths, fit, seed)
    taught = sum(forward_flops(teacher, *shape) for shape in shapes) * (fit.epochs if live else 1)
    return fit.epochs * sum(step_flops(student, *shape) for shape in shapes) + taught


def bill(hardware: Hardware, flops: float, memory_bytes: int) -> Bill:
    """Time and price of `flops` on this hardware, training alone."""
    hours = flops / (hardware.sustained_teraflops * 1e12) / 3600
    fits = memory_bytes <= hardware.memory_gb * 1e9
    return Bill(hardware.name, hours, hours * hardware.price, hours * hardware.spot_price, fits)


def load_profiles(path: Path = PROFILES) -> tuple[Hardware, ...]:
    """The hardware profiles of a file."""
    return tuple(Hardware(**table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["hardware"])
