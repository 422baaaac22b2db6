"""The load call's configuration: the file's own, with versions and the machine's share filled in."""

import json

import pytest

from model_server.errors import RejectedError
from model_server.triton_config import Share, load_config
from tests.tiny_model import config_pbtxt

CONFIG = config_pbtxt(batching="default_queue_policy { allow_timeout_override: true }")


def test_versions_instances_and_threads_are_filled_in_and_the_rest_stays() -> None:
    config = json.loads(load_config("tiny", CONFIG, [1, 4], Share(instances=2, threads=1)))
    assert config["name"] == "tiny"
    assert config["version_policy"] == {"specific": {"versions": ["1", "4"]}}
    assert [(group["count"], group["kind"]) for group in config["instance_group"]] == [(2, "KIND_CPU")]
    assert config["parameters"]["intra_op_thread_count"] == {"string_value": "1"}
    assert config["dynamic_batching"]["default_queue_policy"]["allow_timeout_override"] is True
    assert config["input"][0] == {"name": "input_ids", "data_type": "TYPE_INT64", "dims": ["-1"]}


def test_a_share_of_nothing_leaves_the_file_alone() -> None:
    config = json.loads(load_config("tiny", CONFIG, [1], Share(0, 0)))
    assert config["instance_group"][0]["count"] == 1
    assert "parameters" not in config


def test_a_model_without_instance_groups_gets_one() -> None:
    config = json.loads(load_config("m", 'backend: "onnxruntime"', [1], Share(3, 1)))
    assert config["instance_group"] == [{"count": 3, "kind": "KIND_CPU"}]


def test_tensorrt_takes_the_place_of_the_files_accelerators_on_gpus_alone() -> None:
    own = 'optimization { execution_accelerators { gpu_execution_accelerator [ { name: "other" } ] } }'
    gpu, cpu = config_pbtxt("KIND_GPU") + own, CONFIG
    accelerated = json.loads(load_config("m", gpu, [1], Share(0, 0, "FP16")))["optimization"]["execution_accelerators"]
    assert accelerated == {
        "gpu_execution_accelerator": [{"name": "tensorrt", "parameters": {"precision_mode": "FP16"}}]
    }
    assert "other" in load_config("m", gpu, [1], Share(0, 0))
    assert "tensorrt" not in load_config("m", cpu, [1], Share(0, 0, "FP16"))


def test_the_files_own_version_policy_does_not_decide() -> None:
    text = CONFIG + "\nversion_policy { all {} }"
    assert json.loads(load_config("m", text, [2], Share(1, 1)))["version_policy"] == {"specific": {"versions": ["2"]}}


def test_a_config_that_triton_cannot_read_is_said() -> None:
    with pytest.raises(RejectedError, match=r"config\.pbtxt is not a Triton model configuration: 1:1"):
        load_config("m", "nonsense {", [1], Share(1, 1))
