"""Bodies read by hand agree with the schema that OpenAPI shows."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.errors import InvalidRequestError
from gateway.http.api.bodies import many_texts, one_text
from gateway.http.schemas import ModelPredictRequest, PredictRequest

NUMBERS = st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False).filter(math.isfinite)
LEAVES = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "good film", "ü", "x" * 40])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner))
BODIES = JSON | st.fixed_dictionaries({"text": JSON}) | st.fixed_dictionaries({"inputs": JSON})


def accepts(schema: type[Any], value: object) -> bool:
    """Whether pydantic would take it."""
    try:
        TypeAdapter(schema).validate_json(orjson.dumps(value))
    except ValidationError:
        return False
    return True


@given(BODIES)
def test_the_hand_reads_what_the_schema_says(value: object) -> None:
    for read, schema in ((one_text, PredictRequest), (many_texts, ModelPredictRequest)):
        try:
            read(orjson.dumps(value))
            taken = True
        except InvalidRequestError:
            taken = False
        assert taken == accepts(schema, value)


def test_reads_text_texts_and_pairs() -> None:
    assert one_text(b'{"text": "a good film", "more": 1}') == "a good film"
    assert many_texts(b'{"inputs": "a"}') == ["a"]
    assert many_texts(b'{"inputs": ["a", "b"]}') == ["a", "b"]
    assert many_texts(b'{"inputs": [["a", "b"], ["c", "d"]]}') == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "\xff"}', "not JSON"),
        (b'{"text": "\\ud800"}', "not JSON"),
        (b'{"text": NaN}', "not JSON"),
        (b'["a"]', "must be a JSON object, not a list"),
        (b"3", "not a number"),
        (b"{}", 'no "text"'),
        (b'{"text": ""}', "text is empty"),
        (b'{"text": " \\n\\t"}', "text is empty"),
        (b'{"text": 3}', "text must be a text, not a number"),
        (b'{"text": null}', "not null"),
        (b'{"text": true}', "not a boolean"),
        (b'{"text": {"a": 1}}', "not an object"),
    ],
)
def test_what_is_wrong_with_a_text_is_named(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        one_text(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"text": "a"}', 'no "inputs"'),
        (b'{"inputs": []}', "inputs is empty"),
        (b'{"inputs": 3}', "not a number"),
        (b'{"inputs": ["a", ""]}', r"inputs\[1\] is empty"),
        (b'{"inputs": ["a", 3]}', r"inputs\[1\] must be a text"),
        (b'{"inputs": ["a", ["b", "c"]]}', r"inputs\[1\] must be a text, not a list"),
        (b'{"inputs": [["a", "b"], "c"]}', r"inputs\[1\] must be a pair"),
        (b'{"inputs": [["a"]]}', r"inputs\[0\] must be a pair"),
        (b'{"inputs": [["a", "b", "c"]]}', r"inputs\[0\] must be a pair: a list of exactly two texts"),
        (b'{"inputs": [["a", " "]]}', r"inputs\[0\]\[1\] is empty"),
    ],
)
def test_what_is_wrong_with_inputs_is_named(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        many_texts(body)
