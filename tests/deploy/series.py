"""Every series that dashboards, rules and autoscalers may ask for, with its labels."""

import yaml

from gateway.metrics import Metrics as GatewayMetrics
from model_server.metrics import Metrics as LoaderMetrics
from tests.deploy.helm import CHART

RULES = CHART / "rules" / "retort.yaml"
# Of Triton's /metrics (2.51), those of models; all carry model and version.
TRITON = {
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_request_failure": {"model", "version", "reason"},
    "nv_inference_count": {"model", "version"},
    "nv_inference_exec_count": {"model", "version"},
    "nv_inference_request_duration_us": {"model", "version"},
    "nv_inference_queue_duration_us": {"model", "version"},
    "nv_inference_compute_input_duration_us": {"model", "version"},
    "nv_inference_compute_infer_duration_us": {"model", "version"},
    "nv_inference_compute_output_duration_us": {"model", "version"},
    "nv_inference_pending_request_count": {"model", "version"},
    **{f"nv_gpu_{name}": {"gpu_uuid"} for name in ("utilization", "memory_used_bytes", "memory_total_bytes")},
}
# Of prometheus_client's ProcessCollector, which the gateway registers.
PROCESS = ("process_cpu_seconds_total", "process_resident_memory_bytes")
# Calls that predict, as rules and autoscalers choose them among all that is answered.
ROUTES = "predict|predict_model|infer|grpc_infer"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
# What a scrape in a cluster adds.
TARGET = {"namespace", "service", "pod", "job", "instance"}


def series() -> dict[str, set[str]]:
    """Return every series' name and its labels."""
    found = {name: labels | TARGET for name, labels in TRITON.items()}
    found |= {name: set(TARGET) for name in ("up", *PROCESS)}
    for metrics in (GatewayMetrics(), LoaderMetrics()):
        for metric in vars(metrics).values():
            labels = getattr(metric, "_labelnames", None)
            if labels is not None:
                for suffix in SUFFIXES[metric._type]:
                    found[metric._name + suffix] = {*labels, *TARGET, *({"le"} if suffix == "_bucket" else ())}
    return found | {name: set(TARGET) for name in recorded()}


def recorded() -> set[str]:
    """Return the names that the chart's rules record."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
