"""A training's vital signs: gradient norms and updates by layer, the spike alarm, and the verdict that it diverged."""

import math
import re
import statistics
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

WINDOW = 20  # steps whose mean loss is compared: one step's loss is mostly its batch's
SPIKE = 5.0  # times the median gradient norm of the window, and
LOUD = 1.0  # above this norm, which is where clipping begins: a leap among small gradients harms nothing
LAYER = re.compile(r"(.*?\.(?:layer|layers|h|block)\.\d+)\.")


@dataclass
class Vitals:
    """What the last steps looked like; decides from numbers alone, so it can be saved and tested without a model."""

    first: float = math.nan
    lowest: float = math.inf
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def observe(self, loss: float, norm: float) -> bool:
        """Take in one finite step; return whether its gradient norm is a spike."""
        spike = len(self.norms) == WINDOW and norm > max(LOUD, SPIKE * statistics.median(self.norms))
        self.norms.append(norm)
        self.losses.append(loss)
        if len(self.losses) == WINDOW:
            mean = statistics.fmean(self.losses)
            self.first = mean if math.isnan(self.first) else self.first
            self.lowest = min(self.lowest, mean)
        return spike

    @property
    def diverged(self) -> bool:
        """Whether the loss went back up to half of where it began, and to twice its lowest."""
        return self._risen(2.0, 0.5)

    @property
    def calm(self) -> bool:
        """Whether this state is good enough to come back to: stricter than not diverged, which is noticed late."""
        return not self._risen(1.5, 0.25)

    def _risen(self, times_lowest: float, share_of_first: float) -> bool:
        if len(self.losses) < WINDOW:
            return False
        return statistics.fmean(self.losses) > max(times_lowest * self.lowest, share_of_first * self.first)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "first": self.first,
            "lowest": self.lowest,
            "losses": list(self.losses),
            "norms": list(self.norms),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Vitals":
        """The vitals that a checkpoint holds."""
        found = cls(state["first"], state["lowest"])
        found.losses.extend(state["losses"])
        found.norms.extend(state["norms"])
        return found


def layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to: `bert.encoder.layer.3`, `bert.embeddings`, `classifier`."""
    numbered = LAYER.match(parameter)
    if numbered:
        return numbered.group(1)
    parts = parameter.split(".")
    return ".".join(parts[: max(1, min(2, len(parts) - 1))])


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Euclidean norm of the gradient by layer; a layer without any has 0."""
    return _norms({name: value.grad for name, value in model.named_parameters() if value.requires_grad})


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the trained weights, to measure an update against."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def update_ratios(before: dict[str, Tensor], model: nn.Module) -> dict[str, float]:
    """By layer: how long the update was in relation to the weights; around 1e-3 is usual."""
    now = dict(model.named_parameters())
    sizes = _norms(dict(before))
    changes = _norms({name: now[name].detach() - old for name, old in before.items()})
    return {layer: changes[layer] / size if size else 0.0 for layer, size in sizes.items()}


def _norms(values: dict[str, Tensor | None]) -> dict[str, float]:
    squares: dict[str, list[Tensor]] = defaultdict(list)
    for name, value in values.items():
        squares[layer_of(name)] += [] if value is None else [value.float().square().sum()]
    return {layer: float(torch.stack(found).sum().sqrt()) if found else 0.0 for layer, found in squares.items()}
