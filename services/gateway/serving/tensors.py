"""Tensors of one call: token rows into a ModelInferRequest with raw contents, logits back into predictions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from gateway.errors import InvalidRequestError, UpstreamFailedError
from gateway.serving.manifest import Manifest
from gateway.serving.payload import Tensor

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label and its probability; without labels (ranking, regression) the label is None and the score raw."""

    label: str | None
    score: float
    logits: Floats = field(compare=False)  # [classes], for callers who ask for more than the best class


class Row(Protocol):
    """One tokenized text."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def type_ids(self) -> Sequence[int] | None: ...


def padding(manifest: Manifest) -> Callable[[int], int]:
    """Return the rule length -> padded length: to the next edge where the backend has edges, else not at all."""
    backend = "tensorrt" if "model.plan" in manifest.files else "onnxruntime"
    edges = manifest.edges.get(backend, ())
    longest = manifest.max_length

    def pad(length: int) -> int:
        return min(next((edge for edge in edges if edge >= length), longest), longest)

    return pad if edges else int


def pack(rows: Sequence[Row], manifest: Manifest, pad: Callable[[int], int]) -> dict[str, Ints]:
    """Return the model's inputs by name, [rows, padded length] each."""
    lengths = np.array([len(row.ids) for row in rows])
    shape = (len(rows), pad(int(lengths.max())))
    ids = np.full(shape, manifest.pad_id, dtype=np.int64)
    for target, row, length in zip(ids, rows, lengths, strict=True):
        target[:length] = row.ids
    tensors = {
        "input_ids": ids,
        "attention_mask": (np.arange(shape[1]) < lengths[:, None]).astype(np.int64),
    }
    if manifest.pair:
        types = np.zeros(shape, dtype=np.int64)
        for target, row, length in zip(types, rows, lengths, strict=True):
            target[:length] = row.type_ids or 0
        tensors["token_type_ids"] = types
    return tensors


def request(model: str, version: int, tensors: Mapping[str, Ints], classes: int = 0) -> Any:
    """Return a ModelInferRequest that carries INT64 `tensors` as raw contents; `classes`: Triton's classification."""
    message = service_pb2.ModelInferRequest(model_name=model, model_version=str(version))
    for name, tensor in tensors.items():
        message.inputs.add(name=name, datatype="INT64", shape=tensor.shape)
        message.raw_input_contents.append(tensor.tobytes())
    output = message.outputs.add(name="logits")
    if classes:
        output.parameters["classification"].int64_param = classes
    return message


def payloads(response: Any) -> list[Tensor]:
    """Return the outputs of a ModelInferResponse as they are; UpstreamFailedError when they are not raw."""
    if len(response.outputs) != len(response.raw_output_contents):
        raise UpstreamFailedError("the model server did not answer with raw tensors")
    return [
        Tensor(output.name, output.datatype, tuple(output.shape), content)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    ]


def logits(response: Any, rows: int) -> Floats:
    """Return `logits` [rows, classes] of a ModelInferResponse; UpstreamFailedError when it is not that."""
    if len(response.outputs) != 1 or len(response.raw_output_contents) != 1:
        raise UpstreamFailedError("the model server did not answer with one raw tensor")
    output = response.outputs[0]
    shape = tuple(output.shape)
    values = np.frombuffer(response.raw_output_contents[0], dtype=np.float32)
    if output.name != "logits" or len(shape) != 2 or shape[0] != rows or values.size != shape[0] * shape[1]:
        raise UpstreamFailedError(f"the model server answered {output.name} {list(shape)} to {rows} rows")
    return values.reshape(shape)


def decode(values: Floats, labels: Sequence[str]) -> list[Prediction | UpstreamFailedError]:
    """Return one prediction a row: softmax and the first largest; without labels the first column as it is.

    A row whose score is not finite is an error of its own: its batch-mates are other callers'.
    """
    if not labels:
        return [_prediction(None, score, row) for score, row in zip(values[:, 0].tolist(), values, strict=True)]
    if values.shape[1] != len(labels):
        raise UpstreamFailedError(f"the model answered {values.shape[1]} classes, its manifest has {len(labels)}")
    best = values.argmax(axis=1)
    top = values.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        scores = 1 / np.exp(values - top).sum(axis=1)
    return [
        _prediction(labels[i], score, row) for i, score, row in zip(best.tolist(), scores.tolist(), values, strict=True)
    ]


def _prediction(label: str | None, score: float, row: Floats) -> Prediction | UpstreamFailedError:
    if not math.isfinite(score):
        return UpstreamFailedError("the model answered numbers that are not finite")
    return Prediction(label, score, row)


def probabilities(row: Floats) -> Floats:
    """Return the softmax of one row of logits."""
    exponents = np.exp(row - row.max())
    return np.asarray(exponents / exponents.sum(), dtype=np.float32)


def check(inputs: Mapping[str, Ints], manifest: Manifest) -> None:
    """Raise InvalidRequestError unless a caller's own tensors are what the model reads, within its limits.

    One 32 x 512 call held a core for 3.6 s, and an id outside the vocabulary fails the whole merged batch.
    """
    if inputs.keys() != manifest.inputs.keys():
        raise InvalidRequestError(
            f"inputs are {', '.join(inputs) or 'none'}; the model reads {', '.join(manifest.inputs)} (or text)"
        )
    shapes = {tensor.shape for tensor in inputs.values()}
    shape = inputs["input_ids"].shape
    if len(shapes) != 1 or len(shape) != 2 or 0 in shape:
        raise InvalidRequestError(f"inputs must all have one shape [rows, length], got {sorted(shapes)}")
    rows, length = shape
    if rows > manifest.max_batch_size:
        raise InvalidRequestError(f"{rows} rows are more than the model's {manifest.max_batch_size}")
    if length > manifest.max_length:
        raise InvalidRequestError(f"length {length} is more than the model's {manifest.max_length} tokens")
    if rows * length > manifest.max_tokens:
        raise InvalidRequestError(f"{rows} x {length} tokens are more than the model's {manifest.max_tokens}")
    for name, tensor in inputs.items():
        end = manifest.vocab_size if name == "input_ids" else 2
        if tensor.min() < 0 or tensor.max() >= end:
            raise InvalidRequestError(f"{name} holds a value outside 0..{end - 1}")
