"""Bodies of the Open Inference Protocol: read right, refused by name, never an unforeseen error."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequestError
from gateway.http.api.oip_bodies import parse_infer
from gateway.oip import Question, understand
from tests.gateway.http.api.test_bodies import JSON

TEXT: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["good", "bad"]}
IDS: dict[str, Any] = {"name": "input_ids", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}
MASK = IDS | {"name": "attention_mask", "data": [[1, 1], [1, 0]]}


def parse(*inputs: Any, **more: Any) -> Question:
    """What a request with these inputs means."""
    asked, _ = parse_infer(orjson.dumps({"inputs": inputs} | more))
    return understand(asked)


def test_reads_text() -> None:
    asked = parse(TEXT, parameters={"timeout": 1500, "priority": 2})
    assert (asked.texts, asked.timeout_s, asked.priority) == (["good", "bad"], 0.0015, 2)
    assert parse(TEXT | {"data": [["good"], ["bad"]]}).texts == ["good", "bad"]
    assert parse(TEXT | {"shape": [1, 2]}).texts == [("good", "bad")]
    assert parse_infer(orjson.dumps({"id": "7", "inputs": [TEXT]}))[0].id == "7"


def test_reads_tensors() -> None:
    asked = parse(IDS, MASK, outputs=[{"name": "logits", "parameters": {"binary_data": False}}])
    assert asked.texts is None
    assert asked.tensors["input_ids"].tolist() == [[1, 2], [3, 4]]
    assert asked.tensors["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert asked.timeout_s == math.inf


def test_reads_raw_contents_after_the_json() -> None:
    text = {key: TEXT[key] for key in ("name", "datatype", "shape")} | {"parameters": {"binary_data_size": 15}}
    json = orjson.dumps({"inputs": [text]})
    asked, _ = parse_infer(json + b"\4\0\0\0good\3\0\0\0bad", b"%d" % len(json))
    assert understand(asked).texts == ["good", "bad"]
    ids, mask = (
        {key: tensor[key] for key in ("name", "datatype", "shape")} | {"parameters": {"binary_data_size": 32}}
        for tensor in (IDS, MASK)
    )
    json = orjson.dumps({"inputs": [ids, mask]})
    values = [np.arange(start, start + 4, dtype="<i8").tobytes() for start in (1, 0)]
    asked, _ = parse_infer(json + b"".join(values), b"%d" % len(json))
    found = understand(asked).tensors
    assert [found[name].tolist() for name in ("input_ids", "attention_mask")] == [[[1, 2], [3, 4]], [[0, 1], [2, 3]]]


@pytest.mark.parametrize(
    ("size", "blob", "header", "message"),
    [
        (8, b"\4\0\0\0good", "99999", "must be from 1 to the body's"),
        (8, b"\4\0\0\0good", "x", "must be from 1 to the body's"),
        (9, b"\4\0\0\0good", None, "8 bytes of raw data are left"),
        (-1, b"", None, "binary_data_size is -1"),
        (True, b"", None, "binary_data_size is True"),
        (8, b"\4\0\0\0goodx", None, "1 bytes follow the last raw input"),
        (8, b"\5\0\0\0good", None, "ends in the middle of an element"),
        (3, b"\4\0\0", None, "ends in the middle of an element"),
        (8, b"\4\0\0\0go\xff\xfe", None, "element 0 is not UTF-8"),
    ],
)
def test_what_is_wrong_with_raw_contents_is_named(size: Any, blob: bytes, header: str | None, message: str) -> None:
    text = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": size}}
    json = orjson.dumps({"inputs": [text]})
    with pytest.raises(InvalidRequestError, match=message):
        understand(parse_infer(json + blob, (header or str(len(json))).encode())[0])


def test_the_caller_chooses_outputs_and_their_form() -> None:
    outputs = [{"name": "score"}, {"name": "label", "parameters": {"binary_data": True}}]
    asked, form = parse_infer(orjson.dumps({"inputs": [TEXT], "outputs": outputs}))
    assert [output.name for output in asked.outputs] == ["score", "label"]
    assert (form.is_binary("score"), form.is_binary("label")) == (False, True)
    everything = {"inputs": [TEXT], "parameters": {"binary_data_output": True}}
    assert parse_infer(orjson.dumps(everything))[1].is_binary("score")


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
        ({"parameters": {"binary_data_size": 9}}, "0 bytes of raw data are left"),
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
        ({"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, "binary_data must be true or false"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 1}}]}, "ask for classification on 'score'"),
        ({"outputs": [{"name": "score", "parameters": {"classification": "x"}}]}, "a number of classes"),
        *[
            ({"outputs": [{"name": "logits", "parameters": {"classification": count}}]}, "a number of classes")
            for count in (-1, 2**31, 2**63, 2**64 - 1)
        ],
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output must be true or false"),
        ({"parameters": {"timeout": -1}}, "microseconds"),
        ({"parameters": {"timeout": "soon"}}, "microseconds"),
        ({"parameters": {"priority": -1}}, "priority must be a whole number"),
        ({"parameters": {"sequence_id": 1}}, "'sequence_id' is not supported"),
    ],
)
def test_what_is_wrong_with_the_request_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        understand(parse_infer(orjson.dumps({"inputs": [TEXT]} | more))[0])


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
        body = orjson.dumps({"inputs": inputs, "outputs": outputs, "parameters": parameters})
        understand(parse_infer(body)[0])
