"""Bodies of the Open Inference Protocol over HTTP: JSON, and Triton's binary extension (JSON, then raw tensors)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import InvalidRequestError
from gateway.http.api.bodies import parse_object
from gateway.http.hot import Reply
from gateway.oip import Inference, kind, refuse_parameters, wanted
from gateway.serving.payload import Tensor
from gateway.serving.predictor import TensorAnswer

HEADER_LENGTH = b"inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Form:
    """Which outputs the caller wants raw: those that it names so, and whether all others."""

    binary: Mapping[str, bool]
    binary_by_default: bool

    def is_binary(self, output: str) -> bool:
        """Whether this output goes out raw."""
        return self.binary.get(output, self.binary_by_default)


def parse_infer(body: bytes, header_length: bytes | None = None) -> tuple[Inference, Form]:
    """Read a request; `header_length` is the header that says where JSON ends and raw tensors begin."""
    json, raw = _split(body, header_length)
    value = parse_object(json)
    request_id = value.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError(f"id must be a text, not {kind(request_id)}")
    parameters = _parameters(value)
    by_default = _flag("the request", parameters, "binary_data_output")
    inputs, at = [], 0
    for index, entry in enumerate(_objects(value, "inputs")):
        tensor, at = _input(entry, f"inputs[{index}]", raw, at)
        inputs.append(tensor)
    if at != len(raw):
        raise InvalidRequestError(f"{len(raw) - at} bytes follow the last raw input")
    outputs, binary = [], {}
    for index, entry in enumerate(_objects(value, "outputs") if value.get("outputs") is not None else ()):
        name, options = _name(entry, f"outputs[{index}]"), _parameters(entry)
        binary[name] = _flag(f"output {name!r}", options, "binary_data", by_default)
        outputs.append(wanted(name, options))
    return Inference(request_id, inputs, outputs, parameters), Form(binary, by_default)


def reply(asked: Inference, form: Form, inferred: TensorAnswer) -> Reply:
    """Return the answer in the form that the caller wants."""
    manifest = inferred.target.manifest
    content: dict[str, object] = {"model_name": manifest.model, "model_version": inferred.target.version}
    if asked.id is not None:
        content["id"] = asked.id
    raw: list[bytes] = []
    outputs = content["outputs"] = []
    for tensor in inferred.outputs:
        entry: dict[str, object] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if form.is_binary(tensor.name):
            raw.append(tensor.raw())
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = tensor.elements()
        outputs.append(entry)
    json = orjson.dumps(content)
    if not raw:
        return Reply(json)
    headers = ((b"content-type", b"application/octet-stream"), (HEADER_LENGTH, b"%d" % len(json)))
    return Reply(b"".join([json, *raw]), headers)


def _split(body: bytes, header_length: bytes | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not header_length.isdigit() or not 0 < (length := int(header_length[:20])) <= len(body):
        raise InvalidRequestError(
            f"inference-header-content-length must be from 1 to the body's {len(body)} bytes, "
            f"not {header_length[:20].decode('latin-1')!r}"
        )
    return body[:length], body[length:]


def _input(entry: Mapping[str, Any], where: str, raw: bytes, at: int) -> tuple[Tensor, int]:
    """Return one input, and where the next one's raw contents begin."""
    name, parameters = _name(entry, where), _parameters(entry)
    shape, datatype = entry.get("shape"), entry.get("datatype")
    if not isinstance(shape, list):
        raise InvalidRequestError(f"input {name!r} must have a shape of two positive sizes, not {str(shape)[:80]}")
    if not isinstance(datatype, str):
        raise InvalidRequestError(f"input {name!r} has no datatype")
    size = parameters.pop("binary_data_size", None)
    refuse_parameters(f"input {name!r}", parameters)
    data: bytes | list[Any]
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise InvalidRequestError(
                f"input {name!r}: binary_data_size is {str(size)[:20]}, {len(raw) - at} bytes of raw data are left"
            )
        if "data" in entry:
            raise InvalidRequestError(f"input {name!r} has both data and binary_data_size")
        data, at = raw[at : at + size], at + size
    elif isinstance(entry.get("data"), list):
        data = list(_flat(entry["data"], name))
    else:
        raise InvalidRequestError(f"input {name!r} has no list of data")
    return Tensor(name, datatype, tuple(shape), data), at


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


def _flag(where: str, parameters: dict[str, Any], name: str, default: bool = False) -> bool:  # noqa: FBT001, FBT002
    flag = parameters.pop(name, default)
    if not isinstance(flag, bool):
        raise InvalidRequestError(f"{where}: {name} must be true or false, not {kind(flag)}")
    return flag


def _parameters(value: Mapping[str, Any]) -> dict[str, Any]:
    parameters = value.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"parameters must be an object, not {kind(parameters)}")
    return dict(parameters)


def _objects(value: Mapping[str, Any], key: str) -> Sequence[dict[str, Any]]:
    items = value.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidRequestError(f"{key} must be a list of objects")
    return items


def _name(tensor: Mapping[str, Any], where: str) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"{where} has no name")
    return name[:64]
