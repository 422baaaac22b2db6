"""INT8 artefacts of an FP32 ONNX file: dynamic, and static Q/DQ.

Weights are INT8 per channel in both (embeddings per token, see embeddings.py). The difference is where a matrix
product's input gets its scale: dynamic takes it from the whole batch at run time, so a text's answer depends on its
company; static takes it from calibration.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from training import embeddings

# What takes nearly all time. Outputs stay FP32: then ONNX Runtime folds each product, with its
# Q and DQ, into one MatMulIntegerToFloat, and no error is added at additions, GELU and softmax.
OPERATORS = ["MatMul", "Gemm"]


def dynamic(source: Path, target: Path) -> Path:
    """Write the dynamically quantised model."""
    with _quiet():
        quantize_dynamic(
            embeddings.quantise(source, target),
            target,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    return target


def static(source: Path, target: Path, calibration: Sequence[Sequence[int]]) -> Path:
    """Write the Q/DQ model; `calibration` holds token ids of texts, from which the ranges (minimum, maximum) come.

    Activations are unsigned: on x86 a signed activation finds no VNNI kernel and is 15 times slower (measured).
    """
    with _quiet():
        quantize_static(
            embeddings.quantise(source, target),
            target,
            _Texts(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": OPERATORS},
        )
    return target


class _Texts(CalibrationDataReader):  # type: ignore[misc]
    """One text at a time, unpadded: a padded place would add ranges that no answer uses."""

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self.rows: Iterator[Mapping[str, Any]] = iter(
            [
                {"input_ids": np.array([row], dtype=np.int64), "attention_mask": np.ones((1, len(row)), np.int64)}
                for row in texts
            ]
        )

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self.rows, None)


class _quiet:  # noqa: N801 - reads as a statement
    """Hold back the quantiser's advice on the root logger (to pre-process first: measured, it brings nothing here)."""

    def __enter__(self) -> None:
        self.before = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self.before)
