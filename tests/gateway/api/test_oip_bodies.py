"""Bodies of the Open Inference Protocol: read right, refused by name, never an unforeseen error."""

import math
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.oip_bodies import parse_infer
from gateway.errors import InvalidRequestError
from tests.gateway.api.test_bodies import JSON

TEXT: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["good", "bad"]}
IDS: dict[str, Any] = {"name": "input_ids", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}
MASK = IDS | {"name": "attention_mask", "data": [[1, 1], [1, 0]]}


def parse(*inputs: Any, **more: Any) -> Any:
    """Parse a request with these inputs."""
    return parse_infer(orjson.dumps({"inputs": inputs} | more))


def test_reads_text() -> None:
    asked = parse(TEXT, id="7", parameters={"timeout": 1500})
    assert (asked.id, asked.texts, asked.outputs, asked.timeout_s) == ("7", ["good", "bad"], None, 0.0015)
    assert parse(TEXT | {"data": [["good"], ["bad"]]}).texts == ["good", "bad"]
    assert parse(TEXT | {"shape": [1, 2]}).texts == [("good", "bad")]


def test_reads_tensors() -> None:
    asked = parse(IDS, MASK, outputs=[{"name": "logits", "parameters": {"binary_data": False}}])
    assert asked.texts is None
    assert asked.tensors["input_ids"].tolist() == [[1, 2], [3, 4]]
    assert asked.tensors["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert asked.wants("logits")
    assert asked.timeout_s == math.inf


def test_the_caller_chooses_outputs() -> None:
    asked = parse(TEXT, outputs=[{"name": "score"}])
    assert (asked.wants("label"), asked.wants("score")) == (False, True)
    assert parse(TEXT, outputs=[]).wants("label")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datatype": "FP32"}, "'text' must have datatype BYTES, not 'FP32'"),
        ({"shape": [2]}, "shape of two positive sizes"),
        ({"shape": [2, 3]}, r"shape \[n, 1\]"),
        ({"shape": [3, 1]}, "has 2 elements, its shape says 3"),
        ({"shape": [-1, 1]}, "two positive sizes"),
        ({"shape": [True, 1]}, "two positive sizes"),
        ({"shape": "x"}, "two positive sizes"),
        ({"data": ["good", ""]}, "text element 1 is empty"),
        ({"data": ["good", 3]}, "text element 1 must be a text"),
        ({"data": [[["good"]], "x"]}, "nested deeper"),
        ({"data": None}, "has no list of data"),
        ({"name": ""}, r"inputs\[0\] has no name"),
        ({"parameters": {"binary_data_size": 9}}, "binary tensor extension"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared memory"),
        ({"parameters": {"x": 1}}, "parameter 'x' is not supported"),
        ({"parameters": 3}, "parameters must be an object"),
    ],
)
def test_what_is_wrong_with_text_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse(TEXT | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datatype": "INT32"}, "'input_ids' must have datatype INT64, not 'INT32'"),
        ({"data": [1, 2, 3]}, "has 3 elements, its shape says 4"),
        ({"data": [1, 2, 3, 4.0]}, "not an integer"),
        ({"data": [1, 2, 3, True]}, "not an integer"),
        ({"data": [1, 2, 3, 2**63]}, "does not fit INT64"),
        ({"shape": [0, 4]}, "two positive sizes"),
    ],
)
def test_what_is_wrong_with_tensors_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse(IDS | change, MASK)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"inputs": []}, "inputs is empty"),
        ({"inputs": "x"}, "inputs must be a list of objects"),
        ({"inputs": [TEXT, TEXT]}, "same name"),
        ({"id": 7}, "id must be a text"),
        ({"outputs": [{"name": "logits"}]}, "no output 'logits'; outputs of this call: label, score"),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": True}}]}, "binary tensor extension"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 1}}]}, "'classification'"),
        ({"parameters": {"binary_data_output": True}}, "binary tensor extension"),
        ({"parameters": {"timeout": -1}}, "microseconds"),
        ({"parameters": {"timeout": "soon"}}, "microseconds"),
        ({"parameters": {"priority": 1}}, "'priority' is not supported"),
    ],
)
def test_what_is_wrong_with_the_request_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        parse_infer(orjson.dumps({"inputs": [TEXT]} | more))


TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["text", "input_ids"]) | JSON,
        "datatype": st.sampled_from(["BYTES", "INT64"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": JSON,
        "parameters": JSON,
    },
)


@given(st.lists(TENSORS, max_size=3) | JSON, JSON, JSON)
@settings(max_examples=200)
def test_whatever_comes_is_read_or_refused(inputs: object, outputs: object, parameters: object) -> None:
    with suppress(InvalidRequestError):
        parse_infer(orjson.dumps({"inputs": inputs, "outputs": outputs, "parameters": parameters}))
