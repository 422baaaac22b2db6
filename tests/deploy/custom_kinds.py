"""Kinds that operators bring: checked with the models that cloudcoil generated from their definitions."""

from collections.abc import Iterator, Mapping
from typing import Any

from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from pydantic import BaseModel

from tests.deploy.cluster import Json

KINDS: Mapping[str, type[BaseModel]] = {
    model.__name__: model for model in (PrometheusRule, ScaledObject, ServiceMonitor)
}


def check(document: Json) -> None:
    """Raise pydantic's ValidationError for a wrong type, AssertionError for a field that the kind does not have."""
    model = KINDS[document["kind"]].model_validate(document)
    kept = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert list(_lost(document, kept, document["kind"])) == []  # the models drop what they do not know


def _lost(given: Any, kept: Any, path: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{path}.{key}"
            yield from _lost(value, kept.get(key), f"{path}.{key}")
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (item, own) in enumerate(zip(given, kept, strict=True)):
            yield from _lost(item, own, f"{path}[{index}]")
