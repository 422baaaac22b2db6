"""Tensors: padding, packing, decoding and the limits on a caller's own tensors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from gateway.errors import InvalidRequestError, UpstreamFailedError
from gateway.serving import tensors
from gateway.serving.manifest import File, Manifest, parse
from gateway.serving.tensors import Prediction
from gateway.serving.tokenizer import Tokens


@pytest.fixture(scope="module")
def manifest(published: Path) -> Manifest:
    """The tiny model's."""
    return parse((published / "tiny/1/manifest.json").read_bytes(), model="tiny", version=1)


def test_without_edges_nothing_is_added(manifest: Manifest) -> None:
    assert [tensors.padding(manifest)(length) for length in (1, 17, 32)] == [1, 17, 32]


def test_with_edges_the_next_one_is_taken(manifest: Manifest) -> None:
    plan = replace(
        manifest,
        max_length=48,
        files={"model.plan": File("0" * 64, 1)},
        edges={"onnxruntime": (), "tensorrt": (16, 32, 64)},
    )
    pad = tensors.padding(plan)
    assert [pad(length) for length in (1, 16, 17, 33, 48)] == [16, 16, 32, 48, 48]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=5))
def test_packing_keeps_every_id_and_masks_the_rest(rows: list[list[int]]) -> None:
    packed = tensors.pack([Tokens(row, None) for row in rows], bare(pad_id=7), int)
    for row, ids, mask in zip(rows, packed["input_ids"], packed["attention_mask"], strict=True):
        assert ids[: len(row)].tolist() == row
        assert ids[len(row) :].tolist() == [7] * (len(ids) - len(row))
        assert mask.tolist() == [1] * len(row) + [0] * (len(ids) - len(row))
    assert packed["input_ids"].shape[1] == max(map(len, rows))


def test_pairs_are_packed_with_type_ids(manifest: Manifest) -> None:
    rows = [Tokens([1, 2, 3], [0, 0, 1]), Tokens([1], [0])]
    packed = tensors.pack(rows, replace(manifest, pair=True), int)
    assert packed["token_type_ids"].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_request_carries_raw_contents(manifest: Manifest) -> None:
    message = tensors.request("tiny", 3, tensors.pack([Tokens([1, 2], None)], manifest, int))
    assert (message.model_name, message.model_version) == ("tiny", "3")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in message.inputs] == [
        ("input_ids", "INT64", [1, 2]),
        ("attention_mask", "INT64", [1, 2]),
    ]
    assert np.frombuffer(message.raw_input_contents[0], dtype=np.int64).tolist() == [1, 2]


def response(shape: list[int], values: list[float], name: str = "logits") -> object:
    """A ModelInferResponse."""
    answer = service_pb2.ModelInferResponse()
    answer.outputs.add(name=name, datatype="FP32", shape=shape)
    answer.raw_output_contents.append(np.array(values, dtype=np.float32).tobytes())
    return answer


def test_logits_are_read_in_shape() -> None:
    assert tensors.logits(response([2, 2], [1, 2, 3, 4]), 2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "answer",
    [
        response([1, 2], [1, 2]),
        response([2, 2], [1, 2]),
        response([4], [1, 2, 3, 4]),
        response([2, 1], [1, 2], name="scores"),
        service_pb2.ModelInferResponse(),
    ],
)
def test_an_answer_of_another_form_is_an_error(answer: object) -> None:
    with pytest.raises(UpstreamFailedError):
        tensors.logits(answer, 2)


def test_decoding_is_softmax_and_argmax() -> None:
    decoded = tensors.decode(np.array([[0, 2], [1000, -1000], [0, 0]], dtype=np.float32), ("no", "yes"))
    found = [row for row in decoded if isinstance(row, Prediction)]
    assert [prediction.label for prediction in found] == ["yes", "no", "no"]
    assert [prediction.score for prediction in found] == pytest.approx([1 / (1 + np.exp(-2)), 1.0, 0.5])


def test_a_row_decodes_the_same_alone_and_in_company() -> None:
    logits = np.random.default_rng(0).normal(size=(16, 150)).astype(np.float32)
    labels = [str(index) for index in range(150)]
    alone = [tensors.decode(logits[index : index + 1], labels)[0] for index in range(16)]
    assert tensors.decode(logits, labels) == alone


def test_without_labels_the_score_is_the_models() -> None:
    logits = np.array([[-3.5]], dtype=np.float32)
    assert tensors.decode(logits, ()) == [Prediction(None, -3.5, logits[0])]


def test_logits_that_do_not_fit_the_manifest_are_an_error() -> None:
    with pytest.raises(UpstreamFailedError):
        tensors.decode(np.array([[1.0, 2.0, 3.0]], dtype=np.float32), ("no", "yes"))


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf]])
@pytest.mark.parametrize("labels", [("no", "yes"), ()])
def test_a_score_that_is_not_finite_is_an_error_of_its_row(bad: list[float], labels: tuple[str, ...]) -> None:
    logits = np.array([[0, 1], bad, [1, 0], [-np.inf, 1] if labels else [1, -np.inf]], dtype=np.float32)
    found = tensors.decode(logits, labels)
    assert [type(row) for row in found] == [Prediction, UpstreamFailedError, Prediction, Prediction]


def test_tensors_within_limits_pass(manifest: Manifest) -> None:
    ids = np.full((16, 32), manifest.vocab_size - 1, dtype=np.int64)
    tensors.check({"input_ids": ids, "attention_mask": np.ones_like(ids)}, manifest)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (np.ones((17, 4)), np.ones((17, 4)), "17 rows are more than the model's 16"),
        (np.ones((1, 33)), np.ones((1, 33)), "length 33 is more than the model's 32"),
        (np.ones((2, 4)), np.ones((2, 5)), "one shape"),
        (np.ones((4,)), np.ones((4,)), "one shape"),
        (np.full((1, 4), 10**6), np.ones((1, 4)), "input_ids holds a value outside 0"),
        (np.full((1, 4), -1), np.ones((1, 4)), "input_ids holds a value outside 0"),
        (np.ones((1, 4)), np.full((1, 4), 2), r"attention_mask holds a value outside 0\.\.1"),
    ],
)
def test_tensors_beyond_limits_are_refused(manifest: Manifest, ids: np.ndarray, mask: np.ndarray, message: str) -> None:
    inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
    with pytest.raises(InvalidRequestError, match=message):
        tensors.check(inputs, manifest)


def test_the_token_budget_holds(manifest: Manifest) -> None:
    ids = np.ones((16, 32), dtype=np.int64)
    with pytest.raises(InvalidRequestError, match="16 x 32 tokens"):
        tensors.check({"input_ids": ids, "attention_mask": ids}, replace(manifest, max_tokens=500))


def test_missing_and_surplus_inputs_are_named(manifest: Manifest) -> None:
    with pytest.raises(InvalidRequestError, match="inputs are input_ids; the model reads"):
        tensors.check({"input_ids": np.ones((1, 4), dtype=np.int64)}, manifest)


def bare(*, pad_id: int) -> Manifest:
    """A manifest for packing."""
    return Manifest(
        **{  # type: ignore[arg-type]
            **dict.fromkeys(Manifest.__dataclass_fields__),
            "pad_id": pad_id,
            "pair": False,
            "files": {},
            "edges": {},
            "max_length": 8,
        }
    )
