"""FP32 ONNX export, proved equal to the torch model at several shapes."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers
from torch import Tensor, nn

from training.errors import ModelError

# NVIDIA's images back to 2024 carry an ONNX Runtime that reads this.
OPSET = 17
MASKED = -10_000.0
TOLERANCE = 1e-3
SHAPES = ((1, 8), (1, 17), (3, 16), (8, 32))
ATTENTION = "retort_export"


def plain_attention(
    module: nn.Module,  # noqa: ARG001 - transformers' signature
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention over [rows, heads, length, width] in the form that ONNX Runtime recognises and fuses.

    It looks for a division by the square root of the width; transformers multiplies by the inverse, which hides the
    mask's own multiplication from the pattern.
    """
    scores = query @ key.transpose(-1, -2) / (1 / scaling) + attention_mask
    weights = torch.softmax(scores, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class _Served(nn.Module):
    """ids, mask INT64 [rows, length] -> logits FP32 [rows, labels], and nothing else."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.segments = bool(getattr(model.config, "type_vocab_size", 0))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = (1.0 - attention_mask.unsqueeze(1).unsqueeze(2).to(torch.float32)) * MASKED
        segments = {"token_type_ids": torch.zeros_like(input_ids)} if self.segments else {}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=mask, **segments).logits
        return logits


def to_onnx(model: Any, path: Path, *, max_length: int, vocab_size: int) -> Path:
    """Write `model` as FP32 ONNX and check it; raises ModelError when the file answers otherwise than torch."""
    transformers.AttentionInterface.register(ATTENTION, plain_attention)
    model = model.cpu().eval()
    before = model.config._attn_implementation  # noqa: SLF001 - transformers has no public reader for it
    model.set_attn_implementation(ATTENTION)
    ids, mask = _random_inputs(2, 16, vocab_size)
    with warnings.catch_warnings():
        # The tracing exporter is deprecated; its successor needs onnxscript and writes a graph that is not fused.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Served(model).eval(),  # else the exporter leaves the model in training mode
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={
                "input_ids": {0: "batch", 1: "length"},
                "attention_mask": {0: "batch", 1: "length"},
                "logits": {0: "batch"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
    model.set_attn_implementation(before)
    _check_parity(model, path, max_length, vocab_size)
    return path


@torch.no_grad()
def _check_parity(model: Any, path: Path, max_length: int, vocab_size: int) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows, length in (*SHAPES, (2, max_length)):
        ids, mask = _random_inputs(rows, min(length, max_length), vocab_size)
        expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
        (found,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        distance = float(np.abs(expected - found).max())
        if not distance <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ModelError(
                f"{path.name} does not answer like the torch model: logits differ by {distance:.2g} at shape "
                f"{rows} x {ids.shape[1]}, {TOLERANCE:.0e} is allowed"
            )


def _random_inputs(rows: int, length: int, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Random ids, each row with its own number of padded places at the end."""
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    ids = torch.randint(vocab_size, (rows, length), generator=generator)
    used = torch.randint(1, length + 1, (rows, 1), generator=generator)
    used[0] = length
    return ids, (torch.arange(length) < used).to(torch.int64)
