"""Model sanity: whether a model can be trained at all, and what one step of it needs on this machine."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import loop, vitals
from training.config import Fit
from training.cost import Size
from training.encoding import Batch, Encoded
from training.finding import Finding, Level
from training.loop import StepLoss
from training.machine import Machine, seed_everything

FEW_ROWS = 8
OVERFIT_STEPS = 100
OVERFIT_RATE = 2e-4  # at least: a cautious rate for a whole training is too slow for a hundred steps
NEAR_ZERO = 0.1
NO_GRADIENT = 1e-12
TIMED_STEPS = 3


@dataclass(frozen=True)
class Measured:
    """One training step here: seconds and (rows, padded length) of a typical batch, peak bytes of the largest."""

    seconds: float
    shape: tuple[int, int]
    peak_bytes: int | None
    largest: tuple[int, int]


def size_of(model: Any) -> Size:
    """The model's dimensions."""
    weights = sum(
        value.numel() for name, value in model.named_parameters() if "embeddings" not in name and value.requires_grad
    )
    parameters = sum(value.numel() for value in model.parameters())
    return Size(parameters, weights, model.config.num_hidden_layers, model.config.hidden_size)


@torch.no_grad()
def shapes(model: Any, data: Encoded, labels: int, max_length: int, machine: Machine) -> Finding:
    """Whether the model takes texts of `max_length` and answers with one finite logit for each label."""
    places = getattr(model.config, "max_position_embeddings", max_length)
    # RoBERTa counts places from after the padding's number, so two fewer are left.
    places -= (data.pad_id + 1) if model.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    if places < max_length:
        return Finding(
            Level.FAILURE,
            "positions",
            f"the base has {places} positions, max_length is {max_length}",
            f"lower max_length to {places} or take another base",
        )
    batch = data.batch(range(min(2, len(data)))).to(machine.device)
    out = model.eval()(input_ids=batch.ids, attention_mask=batch.mask, output_hidden_states=True)
    states, expected = [tuple(state.shape) for state in out.hidden_states], (*batch.ids.shape, model.config.hidden_size)
    right = (
        tuple(out.logits.shape) == (len(batch.ids), labels)
        and states == [expected] * (model.config.num_hidden_layers + 1)
        and bool(torch.isfinite(out.logits).all())
    )
    return Finding(
        Level.FINE if right else Level.FAILURE,
        "shapes",
        f"ids {list(batch.ids.shape)} give hidden states {len(states)} x {list(states[-1])} and logits "
        f"{list(out.logits.shape)}",
        "" if right else f"{labels} finite logits a text were expected: take another base",
    )


def gradients(model: Any, data: Encoded, loss_of: StepLoss, machine: Machine) -> Finding:
    """Whether every layer gets a gradient, and how long they are."""
    model.zero_grad()
    torch.autograd.backward(loss_of(model, data.batch(distinct_rows(data)).to(machine.device)))
    norms = vitals.gradient_norms(model)
    frozen = {vitals.layer_of(name) for name, value in model.named_parameters() if not value.requires_grad}
    model.zero_grad()
    dead = sorted([layer for layer, norm in norms.items() if not norm > NO_GRADIENT] + [*frozen - norms.keys()])
    if dead:
        return Finding(
            Level.FAILURE,
            "gradients",
            f"no gradient reaches {', '.join(dead)}",
            "these layers would never learn: look for requires_grad=False and for outputs that the loss does not use",
        )
    lowest, highest = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    found = f"all {len(norms)} layers, norms from {norms[lowest]:.2g} ({lowest}) to {norms[highest]:.2g} ({highest})"
    return Finding(Level.FINE, "gradients", found)


def overfit(model: Any, data: Encoded, loss_of: StepLoss, rate: float, machine: Machine) -> Finding:
    """Whether a few texts can be learnt by heart: a model that cannot has no business with the whole data."""
    seed_everything("overfit")
    rows = distinct_rows(data)
    batch = data.batch(rows).to(machine.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=max(rate, OVERFIT_RATE), weight_decay=0.0)
    model.eval()  # without dropout: this is about memory, not about generalising
    first = last = math.nan
    step = 0
    for step in range(OVERFIT_STEPS + 1):
        with machine.autocast():
            loss = loss_of(model, batch)
        last = float(loss.detach())
        first = last if step == 0 else first
        if last < NEAR_ZERO or not math.isfinite(last):
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), loop.MAX_NORM)
        optimizer.step()
    found = f"{len(rows)} texts: loss {first:.3f} fell to {last:.3f} in {step} steps"
    if last < NEAR_ZERO:
        return Finding(Level.FINE, "overfitting one batch", found)
    return Finding(
        Level.FAILURE,
        "overfitting one batch",
        found,
        f"it should come below {NEAR_ZERO}: try another learning rate (`retort train --find-rate`) and check that the "
        "texts and labels of the samples below belong together",
    )


def measure(model: Any, data: Encoded, loss_of: StepLoss, fit: Fit, machine: Machine) -> Measured:
    """Time a step of usual length and weigh a step of the longest texts; leaves the weights as they are."""
    rows = -(-fit.batch_size // (machine.size * fit.accumulate))
    by_length = sorted(range(len(data)), key=lambda row: len(data.ids[row]))
    middle = max(0, len(by_length) // 2 - rows // 2)
    usual = data.batch(by_length[middle : middle + rows]).to(machine.device)
    longest = data.batch(by_length[-rows:]).to(machine.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)
    model.train()
    before = _start_weighing(model, machine)
    _step(model, longest, loss_of, optimizer, machine)
    peak = _peak_bytes(machine)
    seconds = []
    for _ in range(TIMED_STEPS + 1):  # the first compiles kernels for its shape
        start = time.perf_counter()
        _step(model, usual, loss_of, optimizer, machine)
        seconds.append(time.perf_counter() - start)
    model.zero_grad()
    return Measured(
        seconds=min(seconds[1:]),
        shape=(usual.ids.shape[0], usual.ids.shape[1]),
        peak_bytes=None if peak is None or before is None else peak - before,
        largest=(longest.ids.shape[0], longest.ids.shape[1]),
    )


def distinct_rows(data: Encoded) -> list[int]:
    """A few rows of different texts, of as many labels as there are."""
    texts: set[tuple[int, ...]] = set()
    labels: set[int] = set()
    found: list[int] = []
    spare: list[int] = []
    for row, (ids, label) in enumerate(zip(data.ids, data.labels, strict=True)):
        if ids not in texts:
            texts.add(ids)
            (spare if label in labels else found).append(row)
            labels.add(label)
        if len(found) == FEW_ROWS:
            break
    return (found + spare)[:FEW_ROWS]


def _step(model: Any, batch: Batch, loss_of: StepLoss, optimizer: torch.optim.Optimizer, machine: Machine) -> None:
    optimizer.zero_grad()
    with machine.autocast():
        loss = loss_of(model, batch)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), loop.MAX_NORM)
    optimizer.step()
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


def _start_weighing(model: Any, machine: Machine) -> int | None:
    """Reset the peak and return what of it will not be the training's; None where it cannot be told."""
    if machine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    except OSError:  # not Linux, or not allowed
        return None
    resident = _status("VmRSS")
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    return None if resident is None else resident - weights


def _peak_bytes(machine: Machine) -> int | None:
    return torch.cuda.max_memory_allocated() if machine.device.type == "cuda" else _status("VmHWM")


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def free_bytes(machine: Machine) -> int | None:
    """Memory that is free for training; None where it cannot be told."""
    if machine.device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
