"""The student: some of the teacher's layers, trained to answer as the teacher does."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training import base, loop, loss
from training.config import Config, Loss, Student
from training.encoding import Batch, Encoded
from training.errors import ConfigError
from training.loop import Stage
from training.machine import Machine


@dataclass(frozen=True)
class Masking:
    """What the masked-language-model term needs: the base's head on the student's encoder, and token numbers."""

    model: nn.Module
    mask_id: int
    special: Tensor


def layer_count(config: Student, teacher_layers: int) -> int:
    """How many layers the student has."""
    if isinstance(config.layers, int):
        wanted = config.layers
    else:
        wanted = {"half": max(1, teacher_layers // 2), "same": teacher_layers}[config.layers]
    if wanted > teacher_layers:
        raise ConfigError(f"student.layers is {wanted}, but the teacher has {teacher_layers}")
    return wanted


def layers_to_take(config: Student, teacher_layers: int) -> tuple[int, ...]:
    """Which teacher layers the student starts from: as configured, else spread evenly, the last one included."""
    count = layer_count(config, teacher_layers)
    if not config.take:
        return tuple((i + 1) * teacher_layers // count - 1 for i in range(count))
    if len(config.take) != count or not all(0 <= layer < teacher_layers for layer in config.take):
        raise ConfigError(
            f"student.take must name {count} layers from 0 to {teacher_layers - 1}, not {list(config.take)}"
        )
    return config.take


def cut(teacher: Any, take: tuple[int, ...]) -> nn.Module:
    """A copy of the teacher that has only the layers `take`."""
    student: nn.Module = copy.deepcopy(teacher)
    path, layers = _layer_list(student)
    kept = nn.ModuleList(layers[layer] for layer in take)
    parent = student.get_submodule(path.rpartition(".")[0])
    setattr(parent, path.rpartition(".")[2], kept)
    count = re.compile("num_hidden_layers|n_layers")
    for name in filter(count.fullmatch, vars(teacher.config)):
        setattr(student.config, name, len(take))
    return student


def distil(
    config: Config,
    teacher: nn.Module,
    train: Encoded,
    machine: Machine,
    stage: Stage,
    masking: Callable[[nn.Module], Masking],
) -> nn.Module:
    """Train the student on the teacher's answers and return it."""
    take = layers_to_take(config.student, depth(teacher))
    student = cut(teacher, take).to(machine.device)
    lesson = _Lesson(config.loss, take)
    if config.loss.beta:
        lesson.masking = masking(student)
    if config.loss.gamma:
        lesson.teacher = teacher.to(machine.device).eval()
    elif config.loss.alpha:  # the teacher never changes: its answers are computed once
        lesson.answers = loop.predict(teacher, train, machine, title="teacher's answers").to(machine.device)
    return loop.fit(student, train, lesson, config.student.fit, machine, stage)


class _Lesson:
    """The loss of one step; calls the teacher only when its hidden states are compared."""

    def __init__(self, weights: Loss, take: tuple[int, ...]) -> None:
        self.weights = weights
        self.take = take
        self.answers: Tensor | None = None
        self.teacher: nn.Module | None = None
        self.masking: Masking | None = None

    def __call__(self, student: nn.Module, batch: Batch) -> Tensor:
        weights = self.weights
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        out = student(**inputs, output_hidden_states=self.teacher is not None)
        terms = [weights.eta * loss.labels(out.logits, batch.labels)]
        answers = None if self.answers is None else self.answers[batch.index]
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher(**inputs, output_hidden_states=True)
            answers = taught.logits
            # hidden_states[0] is the embedding, so layer i's output is hidden_states[i + 1]
            pairs = zip(out.hidden_states[1:], (taught.hidden_states[i + 1] for i in self.take), strict=True)
            distances = [loss.hidden_cosine(mine.float(), theirs.float(), batch.mask) for mine, theirs in pairs]
            terms.append(weights.gamma * torch.stack(distances).mean())
        if answers is not None:
            terms.append(weights.alpha * loss.soft_labels(out.logits.float(), answers.float(), weights.temperature))
        if self.masking is not None:
            terms.append(weights.beta * self._masked(self.masking, batch))
        return torch.stack([term.float() for term in terms]).sum()

    @staticmethod
    def _masked(masking: Masking, batch: Batch) -> Tensor:
        special = masking.special.to(batch.ids.device)
        ids, targets = loss.mask_tokens(batch.ids, batch.mask, masking.mask_id, special)
        return loss.masked_tokens(masking.model(input_ids=ids, attention_mask=batch.mask).logits.float(), targets)


def masking_for(folder: Path, tokenizer: Any) -> Callable[[nn.Module], Masking]:
    """Return what puts the masked-language-model head of `folder` on a student's encoder."""

    def build(student: Any) -> Masking:
        model: Any = base.load_masked_lm(folder).requires_grad_(requires_grad=False)
        setattr(model, model.base_model_prefix, student.base_model)
        return Masking(
            model.to(next(student.parameters()).device),
            tokenizer.mask_token_id,
            torch.tensor(tokenizer.all_special_ids),
        )

    return build


def depth(model: nn.Module) -> int:
    """How many layers the encoder has."""
    return len(_layer_list(model)[1])


def _layer_list(model: Any) -> tuple[str, nn.ModuleList]:
    """Path and list of the encoder's layers: the list as long as the configuration says."""
    count = model.config.num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise ConfigError(f"{type(model).__name__} has no list of {count} layers that a student could be cut from")
