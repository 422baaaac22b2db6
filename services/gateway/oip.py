"""An inference call of the Open Inference Protocol without a transport: both doors read it into this."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.call import Call
from gateway.errors import InvalidRequestError
from gateway.serving.payload import Tensor
from gateway.serving.predictor import Answer, Predictor, TensorAnswer
from gateway.serving.target import RawOptions
from gateway.serving.tensors import Ints, Prediction, probabilities
from gateway.serving.tokenizer import Text

MAX_PRIORITY = 2**32 - 1  # Triton's
MAX_CLASSES = 2**31 - 1  # Triton counts in 32 bits, its message in 64, JSON in as many as one likes


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that the caller names; `classification`: so many best classes instead of the tensor (0: the tensor)."""

    name: str
    classification: int = 0


@dataclass(frozen=True, slots=True)
class Inference:
    """What a call asks; no `outputs` = all of them."""

    id: str | None
    inputs: Sequence[Tensor]
    outputs: Sequence[Wanted] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What an inference call means: either `texts` or the model's own `tensors`."""

    texts: list[Text] | None
    tensors: Mapping[str, Ints]
    timeout_s: float
    priority: int


async def infer(predictor: Predictor, call: Call, model: str, version: int | None, asked: Inference) -> TensorAnswer:
    """Answer an inference call."""
    question = understand(asked)
    call.deadline_s = min(call.deadline_s, time.monotonic() + question.timeout_s)
    if question.texts is not None:
        answer = await predictor.predict(call, model, question.texts, version, question.priority)
        return TensorAnswer(answer.target, _text_outputs(answer, asked.outputs))
    classes = max((output.classification for output in asked.outputs), default=0)
    return await predictor.compute(call, model, question.tensors, version, RawOptions(question.priority, classes))


def understand(asked: Inference) -> Question:
    """Read what a call asks; InvalidRequestError names what is wrong with it."""
    names = [tensor.name for tensor in asked.inputs]
    if not names:
        raise InvalidRequestError("inputs is empty")
    if len(set(names)) != len(names):
        raise InvalidRequestError("two inputs have the same name")
    timeout_s, priority = _timeout_s(asked.parameters), _priority(asked.parameters)
    if names == ["text"]:
        _check_outputs(asked.outputs, ("label", "score"))
        return Question(read_texts(asked.inputs[0]), {}, timeout_s, priority)
    _check_outputs(asked.outputs, ("logits",))
    return Question(None, {tensor.name: read_ints(tensor) for tensor in asked.inputs}, timeout_s, priority)


def read_texts(tensor: Tensor) -> list[Text]:
    """Return the texts or pairs of the input `text`, BYTES [n, 1] or [n, 2]; raises InvalidRequestError."""
    rows, columns = _shape(tensor)
    if tensor.datatype != "BYTES":
        raise InvalidRequestError(f"input 'text' must have datatype BYTES, not {tensor.datatype!r}")
    if columns not in (1, 2):
        raise InvalidRequestError(f"input 'text' must have shape [n, 1] (pairs: [n, 2]), not {[rows, columns]}")
    elements = tensor.elements()
    if len(elements) != rows * columns:
        raise InvalidRequestError(f"input 'text' has {len(elements)} elements, its shape says {rows * columns}")
    texts = [checked(element, f"text element {index}") for index, element in enumerate(elements)]
    return list(zip(texts[::2], texts[1::2], strict=True)) if columns == 2 else list(texts)


def read_ints(tensor: Tensor) -> Ints:
    """Return an INT64 input [rows, length]; raises InvalidRequestError."""
    shape = _shape(tensor)
    if tensor.datatype != "INT64":
        raise InvalidRequestError(f"input {tensor.name!r} must have datatype INT64, not {tensor.datatype!r}")
    if isinstance(tensor.data, bytes):
        return tensor.numbers(tensor.data).reshape(shape)
    if not all(type(item) is int for item in tensor.data):
        raise InvalidRequestError(f"input {tensor.name!r} holds something that is not an integer")
    if len(tensor.data) != math.prod(shape):
        raise InvalidRequestError(
            f"input {tensor.name!r} has {len(tensor.data)} elements, its shape says {math.prod(shape)}"
        )
    try:
        return np.array(tensor.data, dtype=np.int64).reshape(shape)
    except OverflowError:
        raise InvalidRequestError(f"input {tensor.name!r} holds an integer that does not fit INT64") from None


def checked(text: Any, name: str) -> str:
    """Return `text` if it is one that a model can read."""
    if not isinstance(text, str):
        raise InvalidRequestError(f"{name} must be a text, not {kind(text)}")
    if not text or text.isspace():
        raise InvalidRequestError(f"{name} is empty")
    return text


def kind(value: Any) -> str:
    """Name a JSON type."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _timeout_s(parameters: Mapping[str, Any]) -> float:
    """Return the request parameter `timeout`, microseconds on the wire; 0 is the protocol's "none"."""
    refuse_parameters("the request", parameters, allowed=("timeout", "priority"))
    timeout_us = parameters.get("timeout", 0)
    if type(timeout_us) is not int or timeout_us < 0:
        raise InvalidRequestError(f"parameter timeout must be microseconds, not {str(timeout_us)[:40]}")
    return timeout_us / 1e6 or math.inf


def version_number(version: str | None) -> int | None:
    """Return a version as the protocol writes it (None or empty: whichever is routed)."""
    if not version:
        return None
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise InvalidRequestError(f"a version is a positive whole number, not {version[:40]!r}")
    return int(version)


def wanted(name: str, parameters: Mapping[str, Any]) -> Wanted:
    """Return an output as the caller names it; raises InvalidRequestError."""
    refuse_parameters(f"output {name!r}", parameters, allowed=("classification",))
    classes = parameters.get("classification", 0)
    if type(classes) is not int or not 0 <= classes <= MAX_CLASSES:
        raise InvalidRequestError(
            f"output {name!r}: classification must be a number of classes, not {str(classes)[:40]}"
        )
    return Wanted(name, classes)


def refuse_parameters(where: str, parameters: Mapping[str, Any], *, allowed: Sequence[str] = ()) -> None:
    """Raise InvalidRequestError for a parameter that would be ignored, or that must not reach Triton."""
    for name in parameters:
        if name.startswith("shared_memory"):
            raise InvalidRequestError(f"{where}: shared memory is not reachable through the gateway ({name})")
        if name not in allowed:
            raise InvalidRequestError(f"{where}: parameter {name[:64]!r} is not supported")


def _priority(parameters: Mapping[str, Any]) -> int:
    priority = parameters.get("priority", 0)
    if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
        raise InvalidRequestError(f"parameter priority must be a whole number from 0, not {str(priority)[:40]}")
    return priority


def _shape(tensor: Tensor) -> tuple[int, int]:
    if len(tensor.shape) != 2 or not all(type(size) is int and size > 0 for size in tensor.shape):
        raise InvalidRequestError(
            f"input {tensor.name!r} must have a shape of two positive sizes, not {str(list(tensor.shape))[:80]}"
        )
    return tensor.shape[0], tensor.shape[1]


def _check_outputs(outputs: Sequence[Wanted], available: Sequence[str]) -> None:
    for output in outputs:
        if output.name not in available:
            raise InvalidRequestError(
                f"there is no output {output.name!r}; outputs of this call: {', '.join(available)}"
            )
        if output.classification and output.name == "label":
            raise InvalidRequestError("output 'label': ask for classification on 'score'")


def _text_outputs(answer: Answer, outputs: Sequence[Wanted]) -> list[Tensor]:
    found = answer.predictions
    shape = (len(found), 1)
    classes = {output.name: output.classification for output in outputs} or {"label": 0, "score": 0}
    tensors = []
    if "label" in classes:
        tensors.append(Tensor("label", "BYTES", shape, [prediction.label or "" for prediction in found]))
    if (best := classes.get("score")) == 0:
        tensors.append(Tensor("score", "FP32", shape, [prediction.score for prediction in found]))
    elif best:
        tensors.append(_best(found, answer.target.manifest.labels, best))
    return tensors


def _best(found: Sequence[Prediction], labels: Sequence[str], classes: int) -> Tensor:
    """Return the best classes of each text as Triton's classification extension writes them: value:index:label."""
    if not labels:
        raise InvalidRequestError("output 'score': the model has no classes")
    classes = min(classes, len(labels))
    rows = [probabilities(prediction.logits) for prediction in found]
    lines = [
        f"{row[index]:f}:{index}:{labels[index]}" for row in rows for index in np.argsort(-row, kind="stable")[:classes]
    ]
    return Tensor("score", "BYTES", (len(found), classes), lines)
