"""What compose's Prometheus scrapes and compose's Grafana reads is there."""

from typing import Any

import yaml

from gateway.settings import Settings
from tests.deploy.helm import ROOT

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_every_part_with_metrics_is_scraped_where_it_serves_them() -> None:
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    }
    assert jobs == {
        "gateway": [f"gateway:{Settings.model_fields['metrics_port'].default}"],
        "triton": ["model-server:8002"],
        "loader": ["model-server:8003"],
        "prometheus": ["127.0.0.1:9090"],
    }
    assert {target.split(":")[0] for targets in jobs.values() for target in targets} - {"127.0.0.1"} <= set(SERVICES)


def test_grafana_reads_that_prometheus_and_the_charts_dashboards() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/retort.yml").read_text())["providers"]
    assert f"./deploy/helm/retort/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
