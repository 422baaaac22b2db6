"""What goes together badly, or is not there, is refused at install with one sentence that says what to do."""

import pytest

from tests.deploy.chart import at, values
from tests.deploy.cluster import Json
from tests.deploy.helm import Helm

KEDA = {"engine": "keda", "prometheusAddress": "http://prometheus:9090"}


def secret(name: str, *entries: str) -> Json:
    """Return a Secret of the platform's."""
    about = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": dict.fromkeys(entries, "eA==")}


# What every namespace has.
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"autoscaling": {"engine": "hpa", "modelServer": {"minReplicas": 0}}},
            "autoscaling.modelServer.minReplicas is 0: only autoscaling.engine keda can scale to zero, an HPA cannot",
        ),
        (
            at("autoscaling.engine", "keda"),
            "autoscaling.engine is keda and autoscaling.prometheusAddress is empty: give the URL of Prometheus",
        ),
        (
            at("autoscaling.engine", "hpa"),
            "autoscaling.engine is hpa and metrics.rules.enabled is false: they record the model server's signal",
        ),
        (
            {"autoscaling": {**KEDA, "gateway": {"minReplicas": 20}}},
            "autoscaling.gateway.minReplicas 20 is more than maxReplicas 10",
        ),
        (
            {"autoscaling": {**KEDA, "modelServer": {"maxReplicas": 2}}},
            "autoscaling.modelServer.fallbackReplicas 3 is more than maxReplicas 2",
        ),
        (
            at("redis.external.url", "redis://redis:6379"),
            "redis.enabled and redis.external are both set: switch redis.enabled off to use yours",
        ),
        (
            at("ingress.grpc.enabled", value=True),
            "ingress.grpc.enabled is true and ingress.grpc.host is empty: give the host name",
        ),
        (
            {"ingress": {door: {"enabled": True, "host": "a.example.com"} for door in ("http", "grpc")}},
            "ingress.http.host and ingress.grpc.host are the same: gRPC needs a host name of its own",
        ),
        (
            at("gateway.image.tag", "latest"),
            "the tag of the image retort-gateway is `latest`: name a version, or nobody knows what runs",
        ),
    ],
)
def test_a_bad_combination_is_one_sentence(helm: Helm, given: Json, sentence: str) -> None:
    refused = helm.play(("install", given)).refused or "accepted"
    assert refused.rstrip().endswith(sentence)
    assert "\n" not in refused.strip()


@pytest.mark.parametrize(
    ("given", "entries"),
    [
        (at("auth.existingSecret", "mine"), ["api-keys"]),
        ({"admin": {"enabled": True, "existingSecret": "mine"}}, ["admin-keys"]),
        (at("tls.existingSecret", "mine"), ["tls.crt", "tls.key"]),
        (at("tracing.existingSecret", "mine"), ["headers"]),
        (at("redis.existingSecret", "mine"), ["password"]),
        ({"redis": {"enabled": False, "external": {"existingSecret": "mine"}}}, ["url"]),
        (at("modelServer.nvidia", {"image": {"repository": "triton"}, "existingSecret": "mine"}), ["triton-api-key"]),
        (at("ingress.http", {"enabled": True, "host": "a.example.com", "tlsSecret": "mine"}), ["tls.crt", "tls.key"]),
    ],
)
def test_a_missing_secret_is_refused_by_name(helm: Helm, given: Json, entries: list[str]) -> None:
    missing = helm.play(("install", given), present=[ACCOUNT]).refused or "accepted"
    assert " names the Secret mine, which is not in the namespace shop: create it first" in missing
    partial = helm.play(("install", given), present=[ACCOUNT, secret("mine", *entries[1:])]).refused or "accepted"
    assert f" names the Secret mine, which has no entry {entries[0]}: add it first" in partial
    assert helm.play(("install", given), present=[ACCOUNT, secret("mine", *entries)]).refused is None


def test_load_needs_a_key_in_the_clear(helm: Helm) -> None:
    given = {"auth": {"existingSecret": "mine"}, "load": {"enabled": True}}
    refused = helm.play(("install", given), present=[ACCOUNT, secret("mine", "api-keys")]).refused or "accepted"
    assert refused.rstrip().endswith(
        "auth.existingSecret names the Secret mine, which has no entry api-key: add it first"
    )


def test_where_no_cluster_can_be_asked_nothing_is_missed(helm: Helm) -> None:
    assert helm.render(values("existing")).documents
