"""Bodies of the Open Inference Protocol in JSON, read by hand."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.api.bodies import checked, kind, parse_object
from gateway.errors import InvalidRequestError
from gateway.tensors import Ints
from gateway.tokenizer import Text

BINARY = "the binary tensor extension is not supported: send and ask for JSON data (binary_data=False)"


@dataclass(frozen=True, slots=True)
class Infer:
    """One inference call: either `texts` or the model's own `tensors`; `outputs` None = all of them."""

    id: str | None
    texts: list[Text] | None
    tensors: Mapping[str, Ints]
    outputs: frozenset[str] | None
    timeout_s: float

    def wants(self, output: str) -> bool:
        """Whether the caller wants this output."""
        return self.outputs is None or output in self.outputs


def parse_infer(body: bytes) -> Infer:
    """Read an inference request; InvalidRequestError names what is wrong with it."""
    value = parse_object(body)
    request_id = value.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError(f"id must be a text, not {kind(request_id)}")
    inputs = _objects(value, "inputs")
    if not inputs:
        raise InvalidRequestError("inputs is empty")
    names = [_name(tensor, f"inputs[{index}]") for index, tensor in enumerate(inputs)]
    if len(set(names)) != len(names):
        raise InvalidRequestError("two inputs have the same name")
    for name, tensor in zip(names, inputs, strict=True):
        _refuse_parameters(f"input {name!r}", _parameters(tensor), allowed=())
    timeout_s = _timeout_s(_parameters(value))
    if names == ["text"]:
        return Infer(request_id, _texts(inputs[0]), {}, _outputs(value, ("label", "score")), timeout_s)
    tensors = {name: _ints(name, tensor) for name, tensor in zip(names, inputs, strict=True)}
    return Infer(request_id, None, tensors, _outputs(value, ("logits",)), timeout_s)


def _texts(tensor: Mapping[str, Any]) -> list[Text]:
    rows, columns = _shape("text", tensor)
    if tensor.get("datatype") != "BYTES":
        raise InvalidRequestError(f"input 'text' must have datatype BYTES, not {tensor.get('datatype')!r}")
    if columns not in (1, 2):
        raise InvalidRequestError(f"input 'text' must have shape [n, 1] (pairs: [n, 2]), not {[rows, columns]}")
    flat = list(_flat(_data("text", tensor), "text"))
    if len(flat) != rows * columns:
        raise InvalidRequestError(f"input 'text' has {len(flat)} elements, its shape says {rows * columns}")
    texts = [checked(item, f"text element {index}") for index, item in enumerate(flat)]
    return list(zip(texts[::2], texts[1::2], strict=True)) if columns == 2 else list(texts)


def _ints(name: str, tensor: Mapping[str, Any]) -> Ints:
    shape = _shape(name, tensor)
    if tensor.get("datatype") != "INT64":
        raise InvalidRequestError(f"input {name!r} must have datatype INT64, not {tensor.get('datatype')!r}")
    flat = list(_flat(_data(name, tensor), name))
    if not all(type(item) is int for item in flat):
        raise InvalidRequestError(f"input {name!r} holds something that is not an integer")
    if len(flat) != math.prod(shape):
        raise InvalidRequestError(f"input {name!r} has {len(flat)} elements, its shape says {math.prod(shape)}")
    try:
        return np.array(flat, dtype=np.int64).reshape(shape)
    except OverflowError:
        raise InvalidRequestError(f"input {name!r} holds an integer that does not fit INT64") from None


def _flat(data: Iterable[Any], name: str) -> Iterable[Any]:
    """Elements of a flat list, or of one nested once, in row-major order."""
    for item in data:
        if isinstance(item, list):
            for inner in item:
                if isinstance(inner, list):
                    raise InvalidRequestError(f"input {name!r}: data is nested deeper than its shape")
                yield inner
        else:
            yield item


def _data(name: str, tensor: Mapping[str, Any]) -> list[Any]:
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidRequestError(f"input {name!r} has no list of data; {BINARY}")
    return data


def _shape(name: str, tensor: Mapping[str, Any]) -> tuple[int, int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(size) is int and size > 0 for size in shape):
        raise InvalidRequestError(f"input {name!r} must have a shape of two positive sizes, not {str(shape)[:80]}")
    return shape[0], shape[1]


def _outputs(value: Mapping[str, Any], available: Sequence[str]) -> frozenset[str] | None:
    if value.get("outputs") is None:
        return None
    chosen = set()
    for index, output in enumerate(_objects(value, "outputs")):
        name = _name(output, f"outputs[{index}]")
        if name not in available:
            raise InvalidRequestError(f"there is no output {name!r}; outputs of this call: {', '.join(available)}")
        _refuse_parameters(f"output {name!r}", _parameters(output), allowed=("binary_data",))
        chosen.add(name)
    return frozenset(chosen) or None


def _timeout_s(parameters: Mapping[str, Any]) -> float:
    _refuse_parameters("the request", parameters, allowed=("binary_data_output", "timeout"))
    timeout_us = parameters.get("timeout")
    if timeout_us is None:
        return math.inf
    if type(timeout_us) is not int or timeout_us < 0:
        raise InvalidRequestError(f"parameter timeout must be microseconds, not {str(timeout_us)[:40]}")
    return timeout_us / 1e6 or math.inf  # 0 is the protocol's "none"


def _refuse_parameters(where: str, parameters: Mapping[str, Any], *, allowed: tuple[str, ...]) -> None:
    for name, setting in parameters.items():
        if name.startswith("shared_memory"):
            raise InvalidRequestError(f"{where}: shared memory is not reachable through the gateway ({name})")
        if name.startswith("binary_data") and (name not in allowed or setting is not False):
            raise InvalidRequestError(f"{where}: {BINARY}")
        if name not in allowed:
            raise InvalidRequestError(f"{where}: parameter {name[:64]!r} is not supported")


def _parameters(value: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = value.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"parameters must be an object, not {kind(parameters)}")
    return parameters


def _objects(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = value.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidRequestError(f"{key} must be a list of objects")
    return items


def _name(tensor: Mapping[str, Any], where: str) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{where} has no name")
    return name[:64]
