"""The chart's variants, and how tests find their way in what was rendered."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.cluster import Json
from tests.deploy.helm import CHART, Revision

VARIANTS = {
    path.name.removesuffix("-values.yaml").removesuffix(".yaml"): path
    for path in sorted([*(CHART / "ci").glob("*-values.yaml"), *CHART.glob("values-*.yaml")])
}
POD_MAKERS = ("Deployment", "StatefulSet", "Job", "CronJob", "Pod")


def values(variant: str, **more: Any) -> str:
    """Return a variant's values as JSON, some of them replaced."""
    return json.dumps({**yaml.safe_load(VARIANTS[variant].read_text()), **more})


def at(path: str, value: Any) -> Json:
    """Return values with `value` at the dotted `path`."""
    for key in reversed(path.split(".") if path else []):
        value = {key: value}
    return dict(value)


def kind(revision: Revision, name: str) -> list[Json]:
    """Return all objects of one kind."""
    return [document for document in revision.documents if document["kind"] == name]


def pods(revision: Revision) -> dict[str, Json]:
    """Return every pod (metadata and spec) by the name of what makes it."""
    found = {}
    for document in revision.documents:
        if document["kind"] in POD_MAKERS:
            job = document["spec"].get("jobTemplate", document)
            found[document["metadata"]["name"]] = job["spec"].get("template", document)
    return found


def containers(revision: Revision) -> Iterator[tuple[Json, Json]]:
    """Yield (pod spec, container)."""
    for pod in pods(revision).values():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield pod["spec"], container


def container(revision: Revision, name: str) -> tuple[Json, Json]:
    """Return (pod spec, container) of one container."""
    return next((pod, found) for pod, found in containers(revision) if found["name"] == name)


def environment(container: Json) -> dict[str, str]:
    """Return what the container's environment says in the clear."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def of_secret(container: Json) -> dict[str, tuple[str, str]]:
    """Return the variables that come from Secrets: name -> (Secret, entry)."""
    sources = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container.get("env", []) if "valueFrom" in entry
    }
    return {name: (source["name"], source["key"]) for name, source in sources.items()}


def component(labels: Json) -> str:
    """Return the part that labels or a selector name."""
    return str(labels["app.kubernetes.io/component"])
