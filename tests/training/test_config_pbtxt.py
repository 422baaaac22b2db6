"""Tests of training/config_pbtxt.py: Triton's own protobuf reads it."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from training import config_pbtxt


def parsed(target: str = "cpu", rows: int = 32) -> model_config_pb2.ModelConfig:
    """The rendered file as Triton reads it."""
    text = config_pbtxt.render(max_batch_size=rows, warmup_lengths=[16, 64], target=target)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_backend_tensors_and_batch_size() -> None:
    config = parsed()
    assert (config.backend, config.max_batch_size) == ("onnxruntime", 32)
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
        ("input_ids", model_config_pb2.TYPE_INT64, [-1]),
        ("attention_mask", model_config_pb2.TYPE_INT64, [-1]),
    ]
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
        ("logits", model_config_pb2.TYPE_FP32, [-1])
    ]


def test_batches_without_a_queue_policy_at_which_triton_pauses() -> None:
    config = parsed()
    assert config.HasField("dynamic_batching")
    assert not config.dynamic_batching.HasField("default_queue_policy")
    assert not config.dynamic_batching.priority_queue_policy


@pytest.mark.parametrize(("target", "kind"), [("cpu", "KIND_CPU"), ("gpu", "KIND_GPU")])
def test_instances_stand_where_the_target_says(target: str, kind: str) -> None:
    (group,) = parsed(target).instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.Kind.Value(kind)


def test_version_policy_threads_and_warmup() -> None:
    config = parsed()
    assert config.version_policy.latest.num_versions == 1
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert [(w.batch_size, w.inputs["input_ids"].dims[0]) for w in config.model_warmup] == [(1, 16), (1, 64), (32, 16)]
    assert all(i.zero_data for w in config.model_warmup for i in w.inputs.values())


def test_one_row_needs_no_second_warmup() -> None:
    assert [w.batch_size for w in parsed(rows=1).model_warmup] == [1, 1]
