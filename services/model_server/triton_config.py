"""The load call's configuration: the model's config.pbtxt with the versions and the machine's share filled in."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from model_server.errors import RejectedError


@dataclass(frozen=True)
class Share:
    """What the machine gives to a model: instances, and threads of each; 0 leaves config.pbtxt's own.

    `tensorrt` is the precision in which TensorRT computes on GPUs; empty leaves config.pbtxt's accelerators.
    """

    instances: int
    threads: int
    tensorrt: str = ""


def load_config(model: str, pbtxt: str, versions: Sequence[int], share: Share) -> str:
    """Return the JSON configuration that loads exactly `versions`. Raises RejectedError for a bad config.pbtxt."""
    try:
        config = text_format.Parse(pbtxt, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise RejectedError(f"config.pbtxt is not a Triton model configuration: {error}") from error
    config.name = model
    config.version_policy.Clear()
    config.version_policy.specific.versions.extend(versions)
    if share.instances:
        for group in config.instance_group or [config.instance_group.add()]:
            group.count = share.instances
            group.kind = group.kind or model_config_pb2.ModelInstanceGroup.KIND_CPU
    if share.threads:
        config.parameters["intra_op_thread_count"].string_value = str(share.threads)
    if share.tensorrt and any(
        group.kind == model_config_pb2.ModelInstanceGroup.KIND_GPU for group in config.instance_group
    ):
        accelerators = config.optimization.execution_accelerators
        del accelerators.gpu_execution_accelerator[:]
        accelerators.gpu_execution_accelerator.add(name="tensorrt", parameters={"precision_mode": share.tensorrt})
    return json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
