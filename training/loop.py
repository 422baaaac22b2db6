"""The training loop: the only one, for teacher and student alike."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training import checkpoint, loss, vitals
from training.checkpoint import Checkpoints
from training.config import Fit
from training.encoding import Batch, Encoded, length_buckets
from training.errors import DivergenceError
from training.journal import Journal
from training.ladder import Rung, is_out_of_memory
from training.machine import Machine, seed_everything
from training.plan import Plan
from training.vitals import Vitals

StepLoss = Callable[[nn.Module, Batch], Tensor]
MAX_NORM = 1.0
MEASURE_STEPS = 20  # how often layers are measured one by one: it copies the weights
MOST_RESCUES = 2
RESCUE_RATE = 0.1


@dataclass(frozen=True)
class Stage:
    """One training: its name and seed, what it is validated on, and where its records go.

    Without `folder` no checkpoints are kept: a kill starts over, a divergence ends the run. `facts` is whatever decides
    the training beside model, data and schedule; a checkpoint with other facts is not taken up.
    """

    name: str
    seed: int
    validation: Encoded | None = None
    folder: Path | None = None
    journal: Journal = field(default_factory=Journal)
    checkpoint_s: float = 60.0
    facts: tuple[object, ...] = ()


def fit(model: nn.Module, data: Encoded, loss_of: StepLoss, schedule: Fit, machine: Machine, stage: Stage) -> nn.Module:
    """Train `model` to lower `loss_of` and return it, in evaluation mode, on the machine's device.

    `loss_of` must be a mean over rows: then it may be computed in parts. Goes on from the stage's last checkpoint.
    Raises DivergenceError and MemoryShortageError, which say what to change.
    """
    training = _Training(model, data, loss_of, schedule, machine, stage)
    training.resume()
    bar = tqdm(total=training.plan.steps, desc=stage.name, unit="step", disable=not machine.leads)
    with bar as progress:
        while not training.over:
            progress.set_postfix(training.step(), refresh=False)
            training.validate_if_due()
            training.save_if_due()
            progress.update(training.done - progress.n)
    return training.finish()


class _Training:
    """What changes while a model is trained: `done` steps so far, optimizer, rung of the memory ladder, vital signs."""

    def __init__(
        self, model: nn.Module, data: Encoded, loss_of: StepLoss, schedule: Fit, machine: Machine, stage: Stage
    ) -> None:
        self.model: Any = model.to(machine.device).train()
        self.data, self.loss_of, self.machine, self.stage = data, loss_of, machine, stage
        self.plan = Plan(data.lengths, schedule, stage.seed)
        self.optimizer = torch.optim.AdamW(decayed(model, schedule.weight_decay), lr=schedule.learning_rate)
        self.scaler = machine.scaler()
        self.rung = Rung(-(-schedule.batch_size // (machine.size * schedule.accumulate)))
        if schedule.gradient_checkpointing:
            self._stand_on(Rung(self.rung.rows, checkpointed=True))
        self.vitals = Vitals()
        self.done = self.rescues = self.stale = 0
        self.over = False
        self.best: tuple[float, float] = (-math.inf, -math.inf)
        self.best_weights: dict[str, Tensor] | None = None
        self.checkpoints: Checkpoints | None = None
        self.saved_at = -math.inf

    def resume(self) -> None:
        """Go on from the last checkpoint of this very training, if there is one."""
        self.machine.share_weights(self.model)
        if self.stage.folder is None:
            return
        facts = (self.stage.name, self.stage.seed, self.stage.facts, self.plan.fit, self.machine.format, self.data)
        self.checkpoints = Checkpoints(self.stage.folder, checkpoint.fingerprint(self.model, *facts))
        state = self.checkpoints.latest(self.machine.device)
        self.machine.wait()  # the leader may now change the folder
        if state is not None:
            self._load(state)
            self.saved_at = time.monotonic()
            self._note("resumed", "from the last checkpoint")
        elif self.machine.leads:
            self.checkpoints.clear()
            self.stage.journal.forget(self.stage.name)
        self.save_if_due()

    def step(self) -> dict[str, str]:
        """Do one step, or go back to a checkpoint; return what the progress bar shows."""
        rate = self.plan.rate(self.done) * RESCUE_RATE**self.rescues
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        found = self._gradient(self.plan.rows(self.done))
        layers = vitals.gradient_norms(self.model) if self.done % MEASURE_STEPS == 0 else {}
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM))
        self.stage.journal.write("step", self.stage.name, step=self.done, loss=found, rate=rate, norm=norm)
        # An infinite FP16 gradient is the scaler's business: it leaves this step out and scales less from now on.
        finite = math.isfinite(found) and (math.isfinite(norm) or self.scaler.is_enabled())
        if finite and self.vitals.observe(found, norm):
            self._note("spike", f"gradient norm {norm:.3g}, far above that of the last steps")
        if not finite or self.vitals.diverged:
            self._rescue(found)
            return {"loss": "diverged"}
        before = vitals.weights_of(self.model) if layers else {}
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if layers:
            updates = vitals.update_ratios(before, self.model)
            self.stage.journal.write("layers", self.stage.name, step=self.done, gradients=layers, updates=updates)
        self.done += 1
        self.over = self.done == self.plan.steps
        return {"loss": f"{found:.4f}"}

    def validate_if_due(self) -> None:
        """Measure the validation split on schedule; stop early once `patience` measurements brought nothing."""
        split, schedule = self.stage.validation, self.plan.fit
        if not split or not self.done or not self.plan.validates_after(self.done):
            return
        logits = predict(self.model, split, self.machine)
        self.model.train()
        truth = torch.tensor(split.labels)
        accuracy, cost = float((logits.argmax(-1) == truth).float().mean()), float(loss.labels(logits, truth))
        self.stage.journal.write("validation", self.stage.name, step=self.done, loss=cost, accuracy=accuracy)
        if not schedule.patience:
            return
        if (accuracy, -cost) > self.best:
            self.best, self.stale = (accuracy, -cost), 0
            self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        else:
            self.stale += 1
            if self.stale >= schedule.patience and not self.over:
                self.over = True
                self._note("stopped-early", f"{self.stale} validations brought nothing")

    def save_if_due(self) -> None:
        """Keep this state, if the last one is old and this one is worth coming back to."""
        if time.monotonic() - self.saved_at >= self.stage.checkpoint_s and self.vitals.calm:
            self._save()

    def finish(self) -> nn.Module:
        """Return the trained model: the best one seen if there is patience, else the last."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        if self.checkpoints and self.machine.leads:
            self.checkpoints.keep_only(self.done, {"over": True, "step": self.done, "model": self.model.state_dict()})
        if self.rung.checkpointed:
            self.model.activation_checkpointing_disable()
        trained: nn.Module = self.model.eval()
        return trained

    def _gradient(self, rows: list[int]) -> float:
        """Leave the gradient of the mean loss over `rows` in the model and return that loss."""
        while True:
            found, short = torch.zeros((), device=self.machine.device), False
            try:
                self._accumulate(rows, found)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                short = True
            if not self.machine.any(short):  # here and not above: the exception holds on to the activations
                break
            self._stand_on(self.rung.lower())
            self._note("out-of-memory", f"from here on {self.rung}")
        self.machine.add_gradients(self.model)
        self.scaler.unscale_(self.optimizer)
        return float(self.machine.add_up(found))

    def _accumulate(self, rows: list[int], total: Tensor) -> None:
        """Add up this process's share of the loss and of the gradient, a few rows at a time."""
        # Each step draws (dropout, masked words) from a seed of its own: no generator needs saving, none drifts.
        seed_everything(self.stage.seed, self.stage.name, self.done, self.machine.rank)
        self.optimizer.zero_grad()
        for part in self.rung.divide(rows[self.machine.rank :: self.machine.size]):
            with self.machine.autocast():
                mean = self.loss_of(self.model, self.data.batch(part).to(self.machine.device))
            share = mean * (len(part) / len(rows))
            torch.autograd.backward(self.scaler.scale(share))
            total += share.detach()

    def _stand_on(self, rung: Rung) -> None:
        if rung.checkpointed and not self.rung.checkpointed:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        self.rung = rung
        self.optimizer.zero_grad()
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()

    def _rescue(self, found: float) -> None:
        """Back to the last good checkpoint with a tenth of the learning rate, or the sentence that ends the run."""
        state = self.checkpoints.latest(self.machine.device) if self.checkpoints else None
        if state is None or self.rescues == MOST_RESCUES:
            raise DivergenceError(
                f"{self.stage.name}: the loss is {found:.3g} at step {self.done} and "
                f"{self.rescues} restarts with a tenth of the learning rate did not help: lower "
                f"{self.stage.name}.fit.learning_rate ({self.plan.fit.learning_rate:g}), or raise its warmup"
            )
        self.machine.wait()  # until every process has read it
        rescues, at = self.rescues + 1, self.done
        self._load(state)
        self.rescues = rescues
        self._note("rescue", f"the loss was {found:.3g} at step {at}: back here with a tenth of the learning rate")
        self._save()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.checkpoints is None or not self.machine.leads:
            return
        self.checkpoints.save(
            self.done,
            {
                "over": self.over,
                "step": self.done,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "vitals": self.vitals.state(),
                "rung": [self.rung.rows, self.rung.checkpointed],
                "rescues": self.rescues,
                "best": [*self.best, self.stale],
                "best_weights": self.best_weights,
            },
        )

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.done, self.over = state["step"], state["over"]
        if "optimizer" not in state:  # the stage was over
            return
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.vitals = Vitals.from_state(state["vitals"])
        self._stand_on(Rung(*state["rung"]))
        self.rescues = state["rescues"]
        *best, self.stale = state["best"]
        self.best, self.best_weights = (best[0], best[1]), state["best_weights"]

    def _note(self, event: str, what: str) -> None:
        self.stage.journal.write(event, self.stage.name, step=self.done, what=what)
        if self.machine.leads:
            tqdm.write(f"{self.stage.name}, step {self.done}: {event}: {what}", file=sys.stderr)


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
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
def predict(model: Any, data: Encoded, machine: Machine, *, title: str = "", batch_size: int = 64) -> Tensor:
    """Logits [rows, labels] in FP32 for every row of `data`, in its order; the processes share the work."""
    batches = length_buckets(data.lengths, batch_size, 0, 0)[machine.rank :: machine.size]
    model = model.to(machine.device).eval()
    found = torch.zeros(len(data), model.config.num_labels, device=machine.device)
    for rows in tqdm(batches, desc=title, unit="batch", disable=not title or not machine.leads):
        with machine.autocast():
            logits = logits_of(model, data.batch(rows).to(machine.device))
        found[rows] = logits.float()
    return machine.add_up(found).cpu()
