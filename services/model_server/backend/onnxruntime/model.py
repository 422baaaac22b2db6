"""Triton's `onnxruntime` backend in Python, for servers that lack NVIDIA's C++ one.

Serves every model whose config.pbtxt names it. Runs inside Triton's Python stub, which gives it
`triton_python_backend_utils`; imports nothing of Retort. Options carry the names and meanings of the C++ backend
(github.com/triton-inference-server/onnxruntime_backend, README), so that one config.pbtxt is right for both.

Tensors go in and out by DLPack: the stub was built against NumPy 1, and with NumPy 2 its own conversions take a wrong
item size (seen: every element of a row read as the first).
"""

import ctypes
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

GRAPH_LEVELS = {
    "-1": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "0": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "1": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "2": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
EXECUTION_MODES = {"0": onnxruntime.ExecutionMode.ORT_SEQUENTIAL, "1": onnxruntime.ExecutionMode.ORT_PARALLEL}
TENSORRT_OPTIONS = {"max_workspace_size_bytes": "trt_max_workspace_size"}
TENSORRT_PRECISIONS = {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}

Arrays = dict[str, np.ndarray[Any, Any]]


class TritonPythonModel:
    """One instance of one model version: an ONNX Runtime session."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the version's file; whatever is raised here is Triton's reason for not loading it."""
        config = json.loads(args["model_config"])
        for tensor in (*config["input"], *config["output"]):
            if tensor["data_type"] == "TYPE_STRING":
                raise pb_utils.TritonModelException(f"{tensor['name']} is a string tensor, which is not supported here")
        path = Path(
            args["model_repository"], args["model_version"], config.get("default_model_filename") or "model.onnx"
        )
        self._session = onnxruntime.InferenceSession(
            str(path), session_options(config), providers=providers(config, args)
        )
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        if missing := set(self._outputs) - {tensor.name for tensor in self._session.get_outputs()}:
            raise pb_utils.TritonModelException(f"{path.name} has no output {', '.join(sorted(missing))}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer every request; those of equal shape share a run, and one that fails fails alone."""
        arrays = [
            {name: np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name)) for name in self._inputs}
            for request in requests
        ]
        responses: list[Any] = [None] * len(requests)
        for group in groups(arrays):
            for position, response in zip(group, self._answer([arrays[i] for i in group]), strict=True):
                responses[position] = response
        return responses

    def _answer(self, group: Sequence[Arrays]) -> list[Any]:
        merged = group[0] if len(group) == 1 else {n: np.concatenate([a[n] for a in group]) for n in self._inputs}
        try:
            outputs = self._session.run(self._outputs, merged)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base; each becomes an answer
            if len(group) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
            return [response for arrays in group for response in self._answer([arrays])]
        ends = np.cumsum([len(arrays[self._inputs[0]]) for arrays in group])[:-1]
        pieces = zip(*(np.split(output, ends) for output in outputs), strict=True)
        return [
            pb_utils.InferenceResponse([as_tensor(n, p) for n, p in zip(self._outputs, piece, strict=True)])
            for piece in pieces
        ]


_set_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_set_destructor.argtypes = (ctypes.py_object, ctypes.c_void_p)


def as_tensor(name: str, array: np.ndarray[Any, Any]) -> Any:
    """Return an output tensor. Triton's stub takes the memory over but renames the capsule in a way that NumPy's
    destructor of it does not know and complains about on stderr, at every call: so the capsule goes without one.
    """
    capsule = array.__dlpack__()
    _set_destructor(capsule, None)
    return pb_utils.Tensor.from_dlpack(name, capsule)


def groups(arrays: Sequence[Arrays]) -> list[list[int]]:
    """Return the positions of the requests that can share a run: equal in everything but the number of rows."""
    found: dict[tuple[object, ...], list[int]] = {}
    for position, request in enumerate(arrays):
        found.setdefault(tuple(array.shape[1:] for array in request.values()), []).append(position)
    return list(found.values())


def session_options(config: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """Translate config.pbtxt's options."""
    options = onnxruntime.SessionOptions()
    level = str(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = chosen(GRAPH_LEVELS, "the graph optimization level", level)
    for name, entry in config.get("parameters", {}).items():
        value = entry["string_value"]
        if name == "intra_op_thread_count":
            options.intra_op_num_threads = as_count(name, value)
        elif name == "inter_op_thread_count":
            options.inter_op_num_threads = as_count(name, value)
        elif name == "execution_mode":
            options.execution_mode = chosen(EXECUTION_MODES, name, value)
        elif name == "enable_mem_arena":
            options.enable_cpu_mem_arena = as_bool(value)
        elif name == "enable_mem_pattern":
            options.enable_mem_pattern = as_bool(value)
        elif name.startswith("session."):
            options.add_session_config_entry(name, value)
    return options


def providers(config: Mapping[str, Any], args: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return the execution providers for the instance's kind, best first; a GPU that cannot be used is an error."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    if wrong := [a["name"] for a in accelerators.get("cpu_execution_accelerator", [])]:
        raise pb_utils.TritonModelException(f"the CPU accelerator {wrong[0]} is not supported here")
    if args["model_instance_kind"] != "GPU":
        return [("CPUExecutionProvider", {})]
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise pb_utils.TritonModelException(
            "the instance group asks for a GPU, and this ONNX Runtime has no CUDA provider: install onnxruntime-gpu"
        )
    device = {"device_id": args["model_instance_device_id"]}
    best_first = [("CUDAExecutionProvider", device), ("CPUExecutionProvider", {})]
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        if accelerator["name"] != "tensorrt" or "TensorrtExecutionProvider" not in available:
            raise pb_utils.TritonModelException(
                f"the GPU accelerator {accelerator['name']} is not in this ONNX Runtime, which has {available}"
            )
        options = device | tensorrt_options(accelerator.get("parameters", {}))
        best_first.insert(0, ("TensorrtExecutionProvider", options))
    return best_first


def tensorrt_options(parameters: Mapping[str, str]) -> dict[str, str]:
    """Translate the accelerator's parameters; those that begin with `trt_` carry the provider's own names."""
    options: dict[str, str] = {}
    for name, value in parameters.items():
        if name == "precision_mode":
            options |= chosen(TENSORRT_PRECISIONS, name, value)
        elif name.startswith("trt_") or name in TENSORRT_OPTIONS:
            options[TENSORRT_OPTIONS.get(name, name)] = value
    return options


def chosen(known: Mapping[str, Any], name: str, value: str) -> Any:
    """Return what `value` stands for; Triton's reason names the option otherwise."""
    if value not in known:
        raise pb_utils.TritonModelException(f"{name} is {value!r}; it may be {', '.join(known)}")
    return known[value]


def as_count(name: str, value: str) -> int:
    """Read a number of threads; 0 leaves it to ONNX Runtime."""
    if not value.isdigit():
        raise pb_utils.TritonModelException(f"{name} is {value!r}, which is not a number of threads")
    return int(value)


def as_bool(value: str) -> bool:
    """Read a boolean as the C++ backend does."""
    return value.lower() in {"1", "true"}
