"""Values that are wrong are refused at install, and the message names the key."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from tests.deploy.chart import at
from tests.deploy.cluster import Json
from tests.deploy.helm import CHART, Helm

DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
# Maps whose keys are the platform's.
FREE = ("nodeSelector", "labels", "annotations", "podLabels", "podAnnotations")


def levels(node: Json, path: str = "") -> Iterator[str]:
    """Yield the path of every map whose keys are the chart's."""
    yield path
    for key, value in node.items():
        if isinstance(value, dict) and key not in FREE:
            yield from levels(value, f"{path}.{key}".lstrip("."))


@pytest.mark.parametrize("path", list(levels(DEFAULTS)), ids=lambda path: path or "top")
def test_a_typo_is_refused_at_every_level(helm: Helm, path: str) -> None:
    refused = helm.play(("install", at(path, {"replicsa": 1}))).refused or "accepted"
    place = f"/{path.replace('.', '/')}" if path else ""
    assert f"at '{place}': additional properties 'replicsa' not allowed" in refused


@pytest.mark.parametrize(
    "path",
    ["networkPolicy.clients", "networkPolicy.prometheus", "training.egress", "gateway.tolerations", "imagePullSecrets"],
)
def test_a_typo_in_a_list_is_refused(helm: Helm, path: str) -> None:
    refused = helm.play(("install", at(path, [{"name": "x", "podSelecter": {}}]))).refused or "accepted"
    assert f"at '/{path.replace('.', '/')}/0'" in refused
    assert "'podSelecter'" in refused


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("gateway.replicas", "two", "got string, want integer"),
        ("gateway.replicas", -1, "minimum"),
        ("gateway.workers", 0, "minimum"),
        ("gateway.service.type", "Public", "value must be one of"),
        ("gateway.service.port", 70000, "maximum"),
        ("gateway.defaultModel", "Support Tickets", "does not match pattern"),
        ("gateway.settings.RETORT_GATEWAY_MAX_INFLIGHT", "many", "got string, want integer"),
        ("gateway.settings.RETORT_GATEWAY_MAX_INFLIGHT", 0, "minimum: got 0, want 1"),
        # Helm merges maps: only null takes a default away.
        ("gateway.resources.limits", {"memory": None}, "missing property 'memory'"),
        ("modelServer.target", "tpu", "value must be one of"),
        ("modelServer.tolerations", [{"efect": "NoSchedule"}], "additional properties 'efect' not allowed"),
        ("modelRepository.accessModes", [], "minItems"),
        ("training.schedule", "daily", "does not match pattern"),
        ("redis.enabled", "yes", "got string, want boolean"),
        ("redis.maxMemory", "256Mi", "does not match pattern"),
        ("redis.external.url", "redis.shop:6379", "does not match pattern"),
        ("tls.existingSecret", "My Secret", "does not match pattern"),
        ("tracing.share", 1.5, "maximum"),
        ("autoscaling.engine", "both", "value must be one of 'none', 'hpa', 'keda'"),
        ("autoscaling.gateway.minReplicas", 0, "minimum"),
        ("metrics.serviceMonitor.interval", 15, "got number, want string"),
        ("load.protocol", "ftp", "value must be one of 'http', 'grpc'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, path: str, value: Any, complaint: str) -> None:
    refused = helm.play(("install", at(path, value))).refused or "accepted"
    assert f"'/{path.replace('.', '/')}" in refused
    assert complaint in refused


def test_two_autoscalers_cannot_be_said(helm: Helm) -> None:
    given = at("autoscaling", {"hpa": {"enabled": True}, "keda": {"enabled": True}})
    refused = helm.play(("install", given)).refused or "accepted"
    assert "at '/autoscaling': additional properties" in refused
    assert {"'hpa'", "'keda'"} <= set(refused.replace(",", "").split())


@pytest.mark.parametrize("name", ["RETORT_GATEWAY_MAX_INFLIGT", "RETORT_GATEWAY_DRAIN_S", "RETORT_HOST", "PATH"])
def test_settings_that_are_unknown_or_the_charts_own_are_refused(helm: Helm, name: str) -> None:
    refused = helm.play(("install", at(f"gateway.settings.{name}", 1))).refused or "accepted"
    assert f"at '/gateway/settings': additional properties '{name}' not allowed" in refused


def test_the_schema_knows_exactly_the_values_and_the_gateways_settings() -> None:
    assert set(SCHEMA["properties"]) == {*DEFAULTS, "global"}
    own = {f"RETORT_{field.upper()}" for field in Settings.model_fields if field.startswith("gateway_")}
    chart = {f"RETORT_GATEWAY_{name}" for name in ("DRAIN_S", "HOLD_S", "SHUTDOWN_S", "TRACE_SHARE")}
    assert set(SCHEMA["definitions"]["gatewaySettings"]["properties"]) == own - chart


def test_no_map_of_the_schema_is_open() -> None:
    def maps(node: Any, path: str) -> Iterator[tuple[str, Json]]:
        if isinstance(node, dict):
            if node.get("type") == "object":
                yield path, node
            for key, value in node.items():
                yield from maps(value, f"{path}/{key}")

    free = {"/properties/global", "/definitions/strings"}
    opened = {path for path, node in maps(SCHEMA, "") if node.get("additionalProperties") is not False}
    assert opened == free
