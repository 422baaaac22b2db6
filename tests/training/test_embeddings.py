"""Tests of training/embeddings.py."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from training import embeddings

ROWS, WIDTH = 200, 8
TABLE = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
TABLE[7] *= 100  # one loud token
TABLE[9] = 0


def lookup(path: Path, *, rows: int = ROWS, shared: bool = False) -> Path:
    """A model that looks ids up in a table; `shared`: and multiplies by the same table."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["out"], name="lookup")]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", WIDTH])]
    if shared:
        nodes += [
            helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]),
            helper.make_node("MatMul", ["out", "turned"], ["scores"]),
        ]
        outputs.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", rows]))
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        outputs,
        [numpy_helper.from_array(TABLE[:rows], "table")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_rows_keep_their_own_scale() -> None:
    values, scales = embeddings.quantise_rows(TABLE)
    assert values.dtype == np.int8
    assert np.abs(values).max(axis=1).tolist() == [0 if row == 9 else 127 for row in range(ROWS)]
    error = np.abs(values * scales - TABLE)
    assert (error <= scales / 2 + 1e-5).all()


@pytest.mark.parametrize("shared", [False, True])
def test_lookups_answer_nearly_the_same_from_a_smaller_file(tmp_path: Path, *, shared: bool) -> None:
    source = lookup(tmp_path / "fp32.onnx", shared=shared)
    target = embeddings.quantise(source, tmp_path / "int8.onnx")
    ids = np.array([0, 7, 9, 199])
    (found, *_) = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})
    step = embeddings.quantise_rows(TABLE)[1][ids]
    assert (np.abs(found - TABLE[ids]) <= step / 2 + 1e-5).all()
    names = {tensor.name for tensor in onnx.load(target).graph.initializer}
    assert ("table" in names) is shared


def test_small_tables_stay(tmp_path: Path) -> None:
    source = lookup(tmp_path / "fp32.onnx", rows=2)
    target = embeddings.quantise(source, tmp_path / "int8.onnx")
    assert [node.op_type for node in onnx.load(target).graph.node] == ["Gather"]
