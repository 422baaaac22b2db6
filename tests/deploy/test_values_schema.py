"""Values that are wrong are refused at install, and the message names the key."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.cluster import Json
from tests.deploy.helm import CHART, Helm

DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())
FREE = ("nodeSelector", "labels")  # maps whose keys are the platform's


def levels(node: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every map whose keys are the chart's."""
    yield path
    for key, value in node.items():
        if isinstance(value, dict) and key not in FREE:
            yield from levels(value, (*path, key))


def at(path: tuple[str, ...], value: Any) -> Json:
    """Return values with `value` at `path`."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize("path", list(levels(DEFAULTS)), ids=lambda path: ".".join(path) or "top")
def test_a_typo_is_refused_at_every_level(helm: Helm, path: tuple[str, ...]) -> None:
    refused = helm.play(("install", at(path, {"replicsa": 1}))).refused or "accepted"
    assert f"at '{''.join(f'/{key}' for key in path)}': additional properties 'replicsa' not allowed" in refused


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("gateway.replicas", "two", "got string, want integer"),
        ("gateway.replicas", -1, "minimum"),
        ("gateway.service.type", "Public", "value must be one of"),
        ("gateway.service.port", 70000, "maximum"),
        ("gateway.defaultModel", "Support Tickets", "does not match pattern"),
        ("gateway.image.tag", "latest", "'not' failed"),
        # Helm merges maps: only null takes a default away.
        ("gateway.resources.limits", {"memory": None}, "missing property 'memory'"),
        ("modelServer.target", "tpu", "value must be one of"),
        ("modelServer.tolerations", [{"efect": "NoSchedule"}], "additional properties 'efect' not allowed"),
        ("modelRepository.accessModes", [], "minItems"),
        ("redis.enabled", "yes", "got string, want boolean"),
        ("redis.maxMemory", "256Mi", "does not match pattern"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, path: str, value: Any, complaint: str) -> None:
    refused = helm.play(("install", at(tuple(path.split(".")), value))).refused or "accepted"
    assert f"'/{path.replace('.', '/')}" in refused
    assert complaint in refused


def test_the_schema_knows_exactly_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) == {*DEFAULTS, "global"}
