"""The losses of distillation: pure functions of tensors."""

import torch
from torch import Tensor
from torch.nn import functional


def soft_labels(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of logits [rows, labels], softened by `temperature`, mean over rows.

    Multiplied by temperature squared, so that gradients keep their size (Hinton et al. 2015).
    """
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine between hidden states [rows, length, width]: the mean over rows of the mean over a row's tokens.

    Not over all tokens at once: a batch may be computed in parts, and their means must add up to the whole's.
    """
    near = functional.cosine_similarity(student, teacher, dim=-1) * mask
    return 1 - (near.sum(-1) / mask.sum(-1)).mean()


def masked_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits [rows, length, vocabulary] where `targets` is not -100; zero if it is everywhere."""
    if not (targets != -100).any():
        return logits.sum() * 0
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def labels(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits [rows, labels] on label numbers [rows], mean over rows."""
    return functional.cross_entropy(logits, targets)


def mask_tokens(ids: Tensor, mask: Tensor, mask_id: int, special: Tensor, share: float = 0.15) -> tuple[Tensor, Tensor]:
    """Hide a share of the real, non-special tokens: return ids with `mask_id` there, and targets (-100 elsewhere)."""
    chance = torch.rand(ids.shape).to(ids.device)
    hidden = (chance < share) & mask.bool() & ~torch.isin(ids, special)
    return ids.masked_fill(hidden, mask_id), ids.masked_fill(~hidden, -100)
