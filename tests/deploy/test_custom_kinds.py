"""The check of custom kinds does refuse."""

from typing import Any

import pydantic
import pytest

from tests.deploy.custom_kinds import check


def scaled(**spec: Any) -> dict[str, Any]:
    """Return a ScaledObject."""
    trigger = {"type": "prometheus", "metadata": {"query": "up"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "x"},
        "spec": {"scaleTargetRef": {"name": "x"}, "triggers": [trigger], **spec},
    }


def test_a_good_one_passes() -> None:
    check(scaled(minReplicaCount=0))


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        check(scaled(minReplicaCount="none"))


@pytest.mark.parametrize("spec", [{"minReplicas": 0}, {"fallback": {"failureThreshold": 3, "replica": 1}}])
def test_an_unknown_field_is_refused_at_any_depth(spec: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, pydantic.ValidationError)):
        check(scaled(**spec))
