"""Tests of training/quantise.py and training/evaluate.py on a real exported model."""

import collections
import random
from pathlib import Path

import numpy as np
import onnx
import pytest

from training import base, evaluate, export, quantise
from training.encoding import Encoded

SOURCE = random.Random(1)
ROWS = tuple((2, *(SOURCE.randrange(5, 29) for _ in range(SOURCE.randrange(1, 15))), 3) for _ in range(120))
DATA = Encoded(ROWS, (0,) * len(ROWS), pad_id=0)


@pytest.fixture(scope="module")
def artefacts(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """FP32, dynamic and static files of one model."""
    folder = tmp_path_factory.mktemp("artefacts")
    model = base.load_classifier(tiny_base, ("a", "b", "c"))
    fp32 = export.to_onnx(model, folder / "fp32.onnx", max_length=16, vocab_size=29)
    return {
        "fp32": fp32,
        "dynamic-int8": quantise.dynamic(fp32, folder / "dynamic.onnx"),
        "static-qdq": quantise.static(fp32, folder / "static.onnx", ROWS[:40]),
    }


def operators(path: Path) -> collections.Counter[str]:
    """How often each operator occurs."""
    return collections.Counter(node.op_type for node in onnx.load(path).graph.node)


def weight_bytes(path: Path) -> int:
    """Bytes of all weights: in so small a model the graph itself outweighs them."""
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)


def test_dynamic_takes_scales_at_run_time_and_static_from_calibration(artefacts: dict[str, Path]) -> None:
    assert operators(artefacts["dynamic-int8"])["DynamicQuantizeLinear"] > 0
    static = operators(artefacts["static-qdq"])
    assert static["DynamicQuantizeLinear"] == 0
    assert static["QuantizeLinear"] > 0


def test_weights_are_signed_per_channel_and_activations_unsigned(artefacts: dict[str, Path]) -> None:
    graph = onnx.load(artefacts["static-qdq"]).graph
    kinds = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert kinds[node.input[2]][0] == onnx.TensorProto.UINT8
    scales = [
        kinds[node.input[1]][1]
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and kinds.get(node.input[0], (0,))[0] == onnx.TensorProto.INT8
        and len(kinds[node.input[0]][1]) == 2
    ]
    assert any(len(shape) == 1 and shape[0] > 1 for shape in scales)


def test_int8_files_are_about_a_quarter_and_old_runtimes_read_them(artefacts: dict[str, Path]) -> None:
    for name in ("dynamic-int8", "static-qdq"):
        assert weight_bytes(artefacts[name]) < 0.45 * weight_bytes(artefacts["fp32"])
        assert onnx.load(artefacts[name]).ir_version <= 10


def test_evaluation_of_all_artefacts(artefacts: dict[str, Path]) -> None:
    results = evaluate.all_of(artefacts, DATA, max_length=16, max_batch_size=8)
    fp32, static = results["fp32"], results["static-qdq"]
    assert fp32.batch_flip_rate == static.batch_flip_rate == 0
    assert fp32.accuracy == float((fp32.logits.argmax(-1) == 0).mean())
    assert np.abs(static.logits - fp32.logits).max() < 0.2 * np.abs(fp32.logits).max()
    for name, result in results.items():
        assert result.bytes == artefacts[name].stat().st_size
        assert set(result.latency_ms) == {"8", "16"}
        assert min(result.latency_ms.values()) > 0


def test_a_model_that_answers_otherwise_in_company_is_found_out(tmp_path: Path) -> None:
    # logits = [sum of the ids of the whole batch - 20, 0]: the label depends on the neighbours.
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input_ids"], ["ids"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["ids"], ["sum"], keepdims=1),
            helper.make_node("ReduceSum", ["ids", "axis"], ["row"], keepdims=1),
            helper.make_node("Sub", ["sum", "limit"], ["excess"]),
            helper.make_node("Mul", ["row", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "excess"], ["first"]),
            helper.make_node("Concat", ["first", "zeros"], ["logits"], axis=1),
        ],
        "company",
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 2])],
        [
            onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
            onnx.numpy_helper.from_array(np.array([[20]], dtype=np.float32), "limit"),
            onnx.numpy_helper.from_array(np.array([[0]], dtype=np.float32), "zero"),
        ],
    )
    path = tmp_path / "company.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    data = Encoded(((2, 3), (2, 4), (9, 9)), (0, 0, 0), pad_id=0)
    found = evaluate._answers("company", path, data, max_batch_size=4)
    assert found.alone.argmax(-1).tolist() == [1, 1, 1]
    assert found.flip_rate == 1.0


@pytest.mark.parametrize(("lengths", "typical"), [((3, 5, 7), "8"), ((9, 9, 20), "16"), ((200,), "32")])
def test_the_typical_length_is_the_bucket_of_the_median_text(lengths: tuple[int, ...], typical: str) -> None:
    data = Encoded(tuple((1,) * n for n in lengths), (0,) * len(lengths), pad_id=0)
    assert evaluate.typical_length(data, ("8", "16", "32")) == typical


def test_the_processor_has_a_name() -> None:
    assert evaluate.processor()
