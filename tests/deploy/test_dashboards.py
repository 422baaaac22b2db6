"""The dashboards ask only for metrics and labels that the gateway and Triton have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.metrics import Metrics
from tests.deploy.helm import CHART

DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
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
}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
METRIC = re.compile(r"\b((?:retort|nv|process|python)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"by \(([^)]*)\)")


def known() -> dict[str, set[str]]:
    """Return every series' name and its labels."""
    metrics = Metrics()
    series = dict(TRITON)
    for metric in vars(metrics).values():
        labels = getattr(metric, "_labelnames", None)
        if labels is not None:
            for suffix in SUFFIXES[metric._type]:
                series[metric._name + suffix] = {*labels, *({"le"} if suffix == "_bucket" else ())}
    return series


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (panel, PromQL)."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("panel", "expression"), list(expressions()))
def test_metrics_and_labels_exist(panel: str, expression: str) -> None:
    series = known()
    asked = METRIC.findall(expression)
    assert asked, f"{panel} asks for nothing"
    for name, matchers in asked:
        assert name in series, f"{panel}: {name}"
        assert set(MATCHER.findall(matchers)) <= series[name], f"{panel}: labels of {name}"
    labels = {label.strip() for grouping in GROUPING.findall(expression) for label in grouping.split(",")}
    assert labels <= set.union(*(series[name] for name, _ in asked)), panel


def test_the_overview_shows_what_it_promises() -> None:
    asked = {name for _, expression in expressions() for name, _ in METRIC.findall(expression)}
    assert {
        "retort_requests_total",
        "retort_request_duration_seconds_bucket",
        "retort_inflight_requests",
        "retort_queue_depth",
        "retort_batch_rows_bucket",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_infer_duration_us",
    } <= asked
    assert {q for _, e in expressions() for q in re.findall(r"histogram_quantile\(([\d.]+)", e)} >= {
        "0.5",
        "0.95",
        "0.99",
    }


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_are_told_apart_described_and_do_not_overlap(path: Any) -> None:
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
