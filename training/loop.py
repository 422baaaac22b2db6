"""The training loop: the only one, for teacher and student alike."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from training.config import Fit
from training.encoding import Batch, Encoded, LengthBuckets, loader

StepLoss = Callable[[nn.Module, Batch], Tensor]
MAX_NORM = 1.0


def fit(
    model: nn.Module,
    data: Encoded,
    loss_of: StepLoss,
    schedule: Fit,
    accelerator: Accelerator,
    *,
    seed: int,
    title: str,
) -> nn.Module:
    """Train `model` to lower `loss_of` and return it, in evaluation mode, on the accelerator's device."""
    order = LengthBuckets([len(row) for row in data.ids], schedule.batch_size, seed)
    optimizer = torch.optim.AdamW(_decayed(model, schedule.weight_decay), lr=schedule.learning_rate)
    model, optimizer, batches = accelerator.prepare(model, optimizer, loader(data, order))
    steps = len(batches) * schedule.epochs
    rate = LambdaLR(optimizer, lambda step: warmup_decay(step, steps, schedule.warmup))
    model.train()
    with tqdm(total=steps, desc=title, unit="step", disable=not accelerator.is_main_process) as progress:
        for order.epoch in range(schedule.epochs):
            total = torch.zeros((), device=accelerator.device)
            for batch in batches:
                with accelerator.autocast():
                    loss = loss_of(model, batch.to(accelerator.device))
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
                optimizer.step()
                rate.step()
                optimizer.zero_grad()
                total += loss.detach()
                progress.update()
            mean = float(total) / len(batches)
            progress.set_postfix(loss=f"{mean:.4f}")
    trained: nn.Module = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    return trained.eval()


def warmup_decay(step: int, steps: int, warmup: float) -> float:
    """The learning rate's factor: up linearly over the first share of the steps, then linearly down to zero."""
    rising = max(1, round(steps * warmup))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising))


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only: decaying biases and normalisation weights does harm."""
    trained = [value for value in model.parameters() if value.requires_grad]
    return [
        {"params": [value for value in trained if value.ndim > 1], "weight_decay": weight_decay},
        {"params": [value for value in trained if value.ndim <= 1], "weight_decay": 0.0},
    ]


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [rows, labels] of a transformers classifier."""
    logits: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).logits
    return logits


@torch.no_grad()
def predict(model: nn.Module, data: Encoded, accelerator: Accelerator, *, title: str, batch_size: int = 64) -> Tensor:
    """Logits [rows, labels] in FP32 for every row of `data`, in its order."""
    order = LengthBuckets([len(row) for row in data.ids], batch_size, seed=0)
    found: dict[int, Tensor] = {}
    model = model.to(accelerator.device).eval()
    for batch in tqdm(loader(data, order), desc=title, unit="batch", disable=not accelerator.is_main_process):
        with accelerator.autocast():
            logits = logits_of(model, batch.to(accelerator.device))
        found.update(zip(batch.index.tolist(), logits.float().cpu(), strict=True))
    return torch.stack([found[row] for row in range(len(data))])
