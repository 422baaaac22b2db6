"""The dashboards ask only for metrics and labels that the gateway and Triton have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.chart import kind, values
from tests.deploy.helm import CHART, Helm
from tests.deploy.promql import asked, complaints
from tests.deploy.series import PROCESS, recorded, series

DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (panel, PromQL)."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("panel", "expression"), list(expressions()))
def test_metrics_and_labels_exist(panel: str, expression: str) -> None:
    assert complaints(expression, series()) == [], panel


def test_dashboards_travel_whole(helm: Helm) -> None:
    maps = [m for m in kind(helm.render(values("everything")), "ConfigMap") if "dashboard" in m["metadata"]["name"]]
    travelled = {name: json.loads(text) for found in maps for name, text in found["data"].items()}
    assert travelled == {path.name: json.loads(path.read_text()) for path in DASHBOARDS}
    assert all({"grafana_dashboard": "1", "team": "search"}.items() <= m["metadata"]["labels"].items() for m in maps)


def test_the_overview_shows_what_it_promises() -> None:
    shown = {name for _, expression in expressions() for name, _ in asked(expression)}
    assert {
        "retort_requests_total",
        "retort_request_duration_seconds_bucket",
        "retort_inflight_requests",
        "retort_queue_depth",
        "retort_batch_rows_bucket",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_infer_duration_us",
    } <= shown
    assert {q for _, e in expressions() for q in re.findall(r"histogram_quantile\(([\d.]+)", e)} >= {
        "0.5",
        "0.95",
        "0.99",
    }


def test_operations_shows_budgets_scaling_resources_and_every_counter_of_trouble() -> None:
    shown = {name for panel, e in expressions() if panel.startswith("operations") for name, _ in asked(e)}
    ratios = {name for name in recorded() if name.startswith(("retort_error_ratio", "retort_slow_ratio"))}
    trouble = {name for name in series() if re.fullmatch(r"retort_\w+_errors_total", name)}
    assert ratios | trouble | {"retort_triton_queue_ratio", "retort_inflight_requests", *PROCESS} <= shown
    assert "nv_gpu_utilization" in shown


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
