"""Bodies of the predict routes, read by hand: a pydantic model in the hot route costs more than the batching."""

from typing import Any

import orjson

from gateway.errors import InvalidRequestError
from gateway.oip import checked, kind
from gateway.serving.tokenizer import Text


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {kind(value)}")
    return value


def one_text(body: bytes) -> str:
    """Return the text of `{"text": ...}`."""
    value = parse_object(body)
    if "text" not in value:
        raise InvalidRequestError('the body has no "text"')
    return checked(value["text"], "text")


def many_texts(body: bytes) -> list[Text]:
    """Return the texts or pairs of `{"inputs": str | [str] | [[str, str]]}`."""
    value = parse_object(body)
    if "inputs" not in value:
        raise InvalidRequestError('the body has no "inputs"')
    inputs = value["inputs"]
    if isinstance(inputs, str):
        return [checked(inputs, "inputs")]
    if not isinstance(inputs, list):
        raise InvalidRequestError(f"inputs must be a text, a list of texts or a list of pairs, not {kind(inputs)}")
    if not inputs:
        raise InvalidRequestError("inputs is empty")
    if isinstance(inputs[0], list):
        return [_pair(item, f"inputs[{index}]") for index, item in enumerate(inputs)]
    return [checked(item, f"inputs[{index}]") for index, item in enumerate(inputs)]


def _pair(item: Any, name: str) -> tuple[str, str]:
    if not isinstance(item, list) or len(item) != 2:
        raise InvalidRequestError(f"{name} must be a pair: a list of exactly two texts")
    return checked(item[0], f"{name}[0]"), checked(item[1], f"{name}[1]")
