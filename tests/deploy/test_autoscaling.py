"""Autoscaling as rendered: one engine, no replicas fixed beside it, signals that exist, a zero that ends."""

import re

import pytest

from tests.deploy.chart import kind, values
from tests.deploy.cluster import Json
from tests.deploy.helm import Helm
from tests.deploy.series import ROUTES, series

PARTS = ("gateway", "model-server")


def triggers(helm: Helm, part: str) -> list[Json]:
    """Return the KEDA triggers of a part."""
    return list(helm.render(values("keda")).find("ScaledObject", f"rel-retort-{part}")["spec"]["triggers"])


@pytest.mark.parametrize("name", ["hpa", "keda"])
def test_an_autoscaler_counts_the_replicas_alone(helm: Helm, name: str) -> None:
    revision = helm.render(values(name))
    for part in PARTS:
        assert "replicas" not in revision.find("Deployment", f"rel-retort-{part}")["spec"]
    targets = [
        scaler["spec"]["scaleTargetRef"]["name"]
        for scaler in kind(revision, "HorizontalPodAutoscaler") + kind(revision, "ScaledObject")
    ]
    assert targets == [f"rel-retort-{part}" for part in PARTS]


def test_without_one_the_values_count(helm: Helm) -> None:
    revision = helm.render(values("values-staging"))
    for part in PARTS:
        assert revision.find("Deployment", f"rel-retort-{part}")["spec"]["replicas"] == 2
    assert kind(revision, "HorizontalPodAutoscaler") + kind(revision, "ScaledObject") == []


@pytest.mark.parametrize(("name", "held"), [("keda", ["90"]), ("hpa", [])])
def test_gateways_hold_calls_only_where_the_model_server_may_be_none(helm: Helm, name: str, held: list[str]) -> None:
    deployment = helm.render(values(name)).find("Deployment", "rel-retort-gateway")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [entry["value"] for entry in env if entry["name"] == "RETORT_GATEWAY_HOLD_S"] == held


def test_both_engines_go_up_at_once_and_down_slowly(helm: Helm) -> None:
    hpa = kind(helm.render(values("hpa")), "HorizontalPodAutoscaler")
    keda = kind(helm.render(values("keda")), "ScaledObject")
    behaviors = [scaler["spec"]["behavior"] for scaler in hpa]
    behaviors += [s["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] for s in keda]
    assert all(behavior == behaviors[0] for behavior in behaviors)
    up, down = behaviors[0]["scaleUp"], behaviors[0]["scaleDown"]
    assert up["stabilizationWindowSeconds"] == 0
    assert down["stabilizationWindowSeconds"] == 600
    percent = [policy["value"] for policy in down["policies"] if policy["type"] == "Percent"]
    assert percent == [20]


def test_the_hpas_ask_for_series_that_exist(helm: Helm) -> None:
    gateway, server = kind(helm.render(values("hpa")), "HorizontalPodAutoscaler")
    asked = [metric["pods"]["metric"]["name"] for metric in gateway["spec"]["metrics"]]
    assert asked == ["retort_inflight_requests", "retort_queue_depth"]
    backlog, ratio = server["spec"]["metrics"]
    assert backlog["object"]["metric"]["name"] == "retort_inflight_requests"
    described = backlog["object"]["describedObject"]
    service = helm.render(values("hpa")).find("Service", described["name"])
    assert [port["name"] for port in service["spec"]["ports"]] == ["metrics"]
    assert {*asked, ratio["pods"]["metric"]["name"]} <= series().keys()


def test_keda_asks_prometheus_for_series_of_this_release(helm: Helm) -> None:
    revision = helm.render(values("keda"))
    services = {service["metadata"]["name"] for service in kind(revision, "Service")}
    for scaler in kind(revision, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            names = re.findall(r"\b((?:retort|nv)_\w+)\{", query)
            assert names
            assert set(names) <= series().keys()
            assert set(re.findall(r'namespace="([^"]+)"', query)) == {"shop"}
            assert set(re.findall(r'service="([^"]+)"', query)) <= services
            assert trigger["metricType"] == "AverageValue"  # the fallback works for no other
            assert trigger["metadata"]["serverAddress"] == "http://prometheus-operated.monitoring:9090"


def test_a_blind_prometheus_is_an_error_and_no_zero(helm: Helm) -> None:
    for part in PARTS:
        backlog, *_ = triggers(helm, part)
        assert backlog["metadata"]["query"].startswith("sum(retort_inflight_requests{")
        assert "vector(0)" not in backlog["metadata"]["query"]
        assert all(trigger["metadata"]["ignoreNullValues"] == "false" for trigger in triggers(helm, part))
    for scaler in kind(helm.render(values("keda")), "ScaledObject"):
        assert scaler["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 3}


def test_a_model_server_at_zero_is_started_by_what_the_gateway_sees(helm: Helm) -> None:
    revision = helm.render(values("keda"))
    gateway, server = kind(revision, "ScaledObject")
    assert (gateway["spec"]["minReplicaCount"], server["spec"]["minReplicaCount"]) == (1, 0)
    backlog, ratio, calls = server["spec"]["triggers"]
    assert "nv_" not in backlog["metadata"]["query"] + calls["metadata"]["query"]
    assert ratio["metadata"]["query"].endswith("or vector(0)")  # without a Triton there is none
    assert f'route=~"{ROUTES}"' in calls["metadata"]["query"]  # probes and questions about models start nothing


def test_a_model_server_that_never_sleeps_needs_no_alarm_clock(helm: Helm) -> None:
    given = {"engine": "keda", "prometheusAddress": "http://prometheus:9090"}
    _, server = kind(helm.play(("install", {"autoscaling": given})).revisions[0], "ScaledObject")
    assert server["spec"]["minReplicaCount"] == 1
    assert len(server["spec"]["triggers"]) == 2
