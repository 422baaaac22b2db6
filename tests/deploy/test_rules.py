"""Alert rules: they ask for what exists, say what to do, and fire when they should (promtool plays alerts.yaml)."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import values
from tests.deploy.helm import ROOT, Helm
from tests.deploy.promql import complaints
from tests.deploy.series import ROUTES, RULES, series

GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in EVERY if "alert" in rule]
PLAYED = Path(__file__).with_name("alerts.yaml")
PROMTOOL = shutil.which("promtool")


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_series_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert complaints(rule["expr"], series()) == []


def test_a_wrong_rule_would_be_seen() -> None:
    assert complaints("sum(retort_request_total)", series()) == ["unknown: ['retort_request_total']"]
    assert complaints('retort_shed_total{cause="x"}', series()) == ["retort_shed_total has no ['cause']"]
    assert complaints("sum by (modell) (retort_queue_depth)", series()) == ["nothing has ['modell']"]
    assert complaints("vector(1)", series()) == ["asks for nothing"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do_in_one_sentence(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["for"]
    for sentence in (rule["annotations"]["summary"], rule["annotations"]["runbook"]):
        assert sentence.endswith(".")
        assert "\n" not in sentence
    assert len(re.findall(r"\.(?:\s|$)", rule["annotations"]["runbook"])) == 1


def test_every_alert_and_the_autoscalers_series_are_played() -> None:
    tests = yaml.safe_load(PLAYED.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in ALERTS}
    assert "retort_triton_queue_ratio" in {case["expr"] for test in tests for case in test.get("promql_expr_test", [])}


def test_new_figures_of_the_gateway_that_mean_trouble_have_an_alert() -> None:
    asked = " ".join(rule["expr"] for rule in ALERTS)
    for metric in ("keys", "certificate", "redis", "repository"):
        assert f"retort_{metric}_errors_total" in asked
    assert "reason" in asked


def test_the_routes_that_count_are_routes_of_the_gateway() -> None:
    source = "".join(path.read_text() for path in (ROOT / "services/gateway").rglob("*.py"))
    assert all(f'"{route}"' in source for route in ROUTES.split("|"))
    assert {found for rule in EVERY for found in re.findall(r'route=~"([^"]+)"', rule["expr"])} == {ROUTES}


def test_the_chart_installs_these_very_rules(helm: Helm) -> None:
    installed = helm.render(values("everything")).find("PrometheusRule", "tickets-rules")
    assert installed["spec"] == {"groups": GROUPS}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_promtool_plays_them() -> None:
    played = subprocess.run([str(PROMTOOL), "test", "rules", str(PLAYED)], capture_output=True, text=True, timeout=60)
    assert played.returncode == 0, played.stdout + played.stderr
