"""Tests of training/export.py."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from training import base, export
from training.errors import ModelError

SMALL: dict[str, Any] = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
SIZES = {"max_length": 24, "vocab_size": 30}


@pytest.mark.parametrize(
    "model",
    [
        transformers.BertForSequenceClassification(transformers.BertConfig(num_hidden_layers=2, **SMALL)),
        transformers.RobertaForSequenceClassification(
            transformers.RobertaConfig(num_hidden_layers=2, max_position_embeddings=64, pad_token_id=1, **SMALL)
        ),
        transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(n_layers=2, vocab_size=30, dim=16, hidden_dim=32, n_heads=2)
        ),
    ],
    ids=["bert", "roberta", "distilbert"],
)
def test_the_file_has_the_agreed_names_and_types_and_answers_as_torch(model: Any, tmp_path: Path) -> None:
    path = export.to_onnx(model, tmp_path / "m.onnx", **SIZES)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type) for i in session.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    assert [(o.name, o.type) for o in session.get_outputs()] == [("logits", "tensor(float)")]
    assert not model.training
    assert model.config._attn_implementation != export.ATTENTION


def test_padding_does_not_move_an_answer(tiny_base: Path, tmp_path: Path) -> None:
    path = export.to_onnx(
        base.load_classifier(tiny_base, ("a", "b")), tmp_path / "m.onnx", max_length=24, vocab_size=29
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = np.array([[2, 5, 6, 3]])
    padded = np.concatenate([ids, np.full((1, 9), 7)], axis=1)
    mask = np.array([[1] * 4 + [0] * 9])
    (alone,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    (company,) = session.run(None, {"input_ids": padded, "attention_mask": mask})
    np.testing.assert_allclose(alone, company, atol=1e-5)


def test_a_graph_that_old_runtimes_read(tiny_base: Path, tmp_path: Path) -> None:
    path = export.to_onnx(
        base.load_classifier(tiny_base, ("a", "b")), tmp_path / "m.onnx", max_length=24, vocab_size=29
    )
    model = onnx.load(path)
    assert model.ir_version <= 9
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 17}


def test_a_file_that_answers_otherwise_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    model: Any = base.load_classifier(tiny_base, ("a", "b"))
    path = export.to_onnx(model, tmp_path / "m.onnx", max_length=24, vocab_size=29)
    with torch.no_grad():
        model.classifier.bias += 0.01
    with pytest.raises(ModelError, match=r"m\.onnx does not answer like the torch model: logits differ by 0\.01"):
        export._check_parity(model, path, max_length=24, vocab_size=29)
