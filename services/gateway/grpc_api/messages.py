"""Protobuf messages of the Open Inference Protocol (Triton's own, from tritonclient), read and written."""

from collections.abc import Mapping, Sequence
from typing import Any

from tritonclient.grpc import service_pb2

from gateway.errors import InvalidRequestError
from gateway.metadata import ModelInfo
from gateway.oip import Inference, refuse_parameters, wanted
from gateway.serving.payload import Tensor
from gateway.serving.predictor import TensorAnswer

TYPED = {"BYTES": "bytes_contents", "INT64": "int64_contents"}  # the fields of the types that models here read


def read_infer(message: Any) -> Inference:
    """Return what a ModelInferRequest asks; raises InvalidRequestError."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequestError(f"{len(raw)} raw contents for {len(message.inputs)} inputs")
    inputs = []
    for index, tensor in enumerate(message.inputs):
        name = tensor.name[:64]
        refuse_parameters(f"input {name!r}", _parameters(tensor.parameters))
        data = raw[index] if raw else _typed(tensor)
        inputs.append(Tensor(name, tensor.datatype, tuple(tensor.shape), data))
    outputs = [wanted(output.name[:64], _parameters(output.parameters)) for output in message.outputs]
    return Inference(message.id or None, inputs, outputs, _parameters(message.parameters))


def write_infer(asked: Inference, inferred: TensorAnswer) -> Any:
    """Return the ModelInferResponse, its tensors raw."""
    answer = service_pb2.ModelInferResponse(
        model_name=inferred.target.manifest.model, model_version=inferred.target.version, id=asked.id or ""
    )
    for tensor in inferred.outputs:
        answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        answer.raw_output_contents.append(tensor.raw())
    return answer


def write_metadata(info: ModelInfo, platform: str) -> Any:
    """Return the ModelMetadataResponse."""
    answer = service_pb2.ModelMetadataResponse(name=info.name, versions=[info.version], platform=platform)
    for tensors, field in ((info.inputs, answer.inputs), (info.outputs, answer.outputs)):
        for tensor in tensors:
            field.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return answer


def _typed(tensor: Any) -> Sequence[Any]:
    field = TYPED.get(tensor.datatype)
    if field is None:
        return ()  # whoever reads the tensor refuses its type
    elements: Sequence[Any] = getattr(tensor.contents, field)
    if tensor.datatype != "BYTES":
        return list(elements)
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        raise InvalidRequestError(f"input {tensor.name[:64]!r} is not UTF-8") from None


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if not parameters:
        return {}
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None) for name, value in parameters.items()
    }
