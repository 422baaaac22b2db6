"""The learning-rate finder: a short training whose rate rises from step to step until the loss does too."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training import curves, loop, preflight, teacher
from training.config import Config
from training.encoding import Encoded, length_buckets
from training.errors import ConfigError
from training.loop import StepLoss
from training.machine import Machine, seed_everything
from training.material import Material

STEPS = 80
LOWEST, HIGHEST = 1e-6, 1e-1
SMOOTHING = 0.9
BLOWN_UP = 3.0  # times the lowest smoothed loss: from here on there is nothing to learn


@dataclass(frozen=True)
class Sweep:
    """Smoothed loss at each rate, and the rate to try."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the loss is lowest: a peak rate for warm-up and decay.

        Where it falls fastest is the other usual answer; on the demo that was one lucky batch at 35 times a good rate.
        """
        return self.rates[self.losses.index(min(self.losses))] / 10


def find(config: Config, material: Material, machine: Machine) -> tuple[Sweep, Path]:
    """Sweep the rate of the first model that the run would train; returns the sweep and the path of its plot."""
    model = preflight.subject(config, material)
    if model is None:
        raise ConfigError("this configuration trains nothing: teacher.path is set and student.layers is 'same'")
    fit = config.student.fit if config.teacher.path else config.teacher.fit
    found = sweep(model, material.train, teacher.cross_entropy, fit.batch_size, config.seed, machine)
    path = config.run_folder / "learning-rate.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    curves.draw_sweep(found.rates, found.losses, found.suggestion, path)
    return found, path


def sweep(model: Any, data: Encoded, loss_of: StepLoss, batch_size: int, seed: int, machine: Machine) -> Sweep:
    """Train for a few dozen steps, the rate rising geometrically, until the loss blows up."""
    seed_everything(seed, "sweep")
    model = model.to(machine.device).train()
    optimizer = torch.optim.AdamW(loop.decayed(model, 0.0), lr=LOWEST)
    batches = length_buckets(data.lengths, batch_size, seed, 0)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for step in tqdm(range(STEPS), desc="learning rates", unit="step", disable=not machine.leads):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with machine.autocast():
            loss = loss_of(model, data.batch(batches[step % len(batches)]).to(machine.device))
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss.detach())
        smoothed = mean / (1 - SMOOTHING ** (step + 1))  # without the pull of the zero it began with
        if not math.isfinite(smoothed) or (losses and smoothed > BLOWN_UP * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), loop.MAX_NORM)
        optimizer.step()
    return Sweep(tuple(rates), tuple(losses))
