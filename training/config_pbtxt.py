"""Triton's model configuration: right for NVIDIA's C++ ONNX Runtime backend and for Retort's Python-based one."""

from collections.abc import Sequence

# `all`/`latest` matters only to a Triton without our loader, which names versions itself; so do instance count and
# threads. Random warm-up data would hold ids outside the vocabulary, hence zeros.
TEMPLATE = """\
# Written once, at the first publishing of this model; edit it freely, later versions keep it.
backend: "onnxruntime"
max_batch_size: {max_batch_size}
input [
  {{ name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 dims: [ -1 ] }}
]
# The newest version, unless the loader names others.
version_policy {{ latest {{ num_versions: 1 }} }}
# The loader sets the count from the machine that serves.
instance_group [ {{ count: 1 kind: {kind} }} ]
# What waits here is merged, nothing is delayed. Without a queue policy: with one (a time limit, a size) Triton lets
# requests lie for half a second now and then (triton-inference-server/server#8870). The gateway bounds queue and waits.
dynamic_batching {{ }}
parameters [
  {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }},
  {{ key: "inter_op_thread_count" value {{ string_value: "1" }} }}
]
model_warmup [
{warmup}
]
"""

WARMUP = """\
  {{
    name: "{rows} x {length}"
    batch_size: {rows}
    inputs {{ key: "input_ids" value {{ data_type: TYPE_INT64 dims: [ {length} ] zero_data: true }} }}
    inputs {{ key: "attention_mask" value {{ data_type: TYPE_INT64 dims: [ {length} ] zero_data: true }} }}
  }}"""


def render(*, max_batch_size: int, warmup_lengths: Sequence[int], target: str) -> str:
    """Return the text of `config.pbtxt`; a full batch is warmed up at the shortest length only."""
    shapes = [(1, length) for length in warmup_lengths]
    if max_batch_size > 1:
        shapes.append((max_batch_size, warmup_lengths[0]))
    return TEMPLATE.format(
        max_batch_size=max_batch_size,
        kind={"cpu": "KIND_CPU", "gpu": "KIND_GPU"}[target],
        warmup=",\n".join(WARMUP.format(rows=rows, length=length) for rows, length in shapes),
    )
