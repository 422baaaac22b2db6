"""Secrets: generated once, kept over upgrades, given as files that the gateway follows, or the platform's own."""

import base64
import hashlib
from pathlib import Path

import pytest

from gateway.security.auth import ApiKeys
from gateway.settings import load
from tests.deploy.chart import at, container, environment, kind, of_secret, pods, values
from tests.deploy.cluster import Json
from tests.deploy.helm import Helm, Revision

GENERATED = ("api-keys", "admin-keys", "redis", "triton")
ALL: Json = {
    "admin": {"enabled": True},
    "modelServer": {"nvidia": {"image": {"repository": "nvcr.io/nvidia/tritonserver"}}},
}


def data(revision: Revision, name: str) -> dict[str, bytes]:
    """Return a Secret's entries."""
    return {key: base64.b64decode(value) for key, value in revision.find("Secret", name)["data"].items()}


@pytest.mark.parametrize(
    ("entry", "file", "names"), [("api-key", "api-keys", ["default"]), ("admin-key", "admin-keys", ["admin"])]
)
def test_a_generated_key_opens_the_gateway(helm: Helm, tmp_path: Path, entry: str, file: str, names: list[str]) -> None:
    found = data(helm.play(("install", ALL)).revisions[0], f"rel-retort-{file}")
    assert len(found[entry]) >= 32  # of 62 characters: 190 bits
    (tmp_path / "keys").write_bytes(found[file])
    keys = ApiKeys.read(tmp_path / "keys")
    assert [keys.caller(b"Bearer " + found[entry]).name] == names


def test_the_gateway_gets_files_and_of_keys_only_the_hashes(helm: Helm) -> None:
    given = {"admin": {"enabled": True}, "tls": {"existingSecret": "tls"}}
    pod, gateway = container(helm.play(("install", given)).revisions[0], "gateway")
    (volume,) = [volume["projected"] for volume in pod["volumes"] if "projected" in volume]
    files = {item["path"] for source in volume["sources"] for item in source["secret"]["items"]}
    assert files == {"api-keys", "admin-keys", "tls.crt", "tls.key"}
    (mount,) = [mount for mount in gateway["volumeMounts"] if mount["name"] == "secrets"]
    settings = load(environment(gateway))
    named = [settings.api_keys_file, settings.admin_key_file, settings.tls_cert_file, settings.tls_key_file]
    assert {f"{mount['mountPath']}/{file}" for file in files} == {str(path) for path in named}
    assert "subPath" not in mount  # such a mount would never see the Secret change
    probes = [gateway[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert probes == ["HTTPS"] * 3


def test_without_anything_secret_there_is_no_volume_for_it(helm: Helm) -> None:
    revision = helm.render(values("open"))
    assert kind(revision, "Secret") == []
    pod, gateway = container(revision, "gateway")
    assert not any("projected" in volume for volume in pod["volumes"])
    settings = load(environment(gateway))
    assert (settings.auth, settings.admin_key_file, settings.redis_url) == ("off", None, "redis://redis.shared:6379/0")


def test_generated_secrets_differ_by_release_and_survive_upgrades(helm: Helm) -> None:
    first, second = helm.play(("install", ALL), ("upgrade", ALL)), helm.play(("install", ALL))
    for name in GENERATED:
        before, after = (revision.find("Secret", f"rel-retort-{name}")["data"] for revision in first.revisions)
        assert before == after
        assert before != second.revisions[0].find("Secret", f"rel-retort-{name}")["data"]


def test_pods_know_of_the_secret_that_was_generated_beside_them_and_an_upgrade_moves_none(helm: Helm) -> None:
    story = helm.play(("install", ALL), ("upgrade", ALL))
    password = data(story.revisions[0], "rel-retort-redis")["password"]
    mark = hashlib.sha256(password).hexdigest()[:16]
    for revision in story.revisions:
        for name in ("rel-retort-gateway", "rel-retort-redis"):
            assert pods(revision)[name]["metadata"]["annotations"]["checksum/redis"] == mark
    assert pods(story.revisions[0]) == pods(story.revisions[1])


def test_a_changed_secret_of_the_platform_moves_the_pods_that_read_it_only_at_their_start(helm: Helm) -> None:
    def marks(version: str) -> list[str]:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mine", "namespace": "shop", "resourceVersion": version},
            "data": {"password": "eA=="},
        }
        story = helm.play(("install", at("redis.existingSecret", "mine")), present=[secret])
        made = pods(story.revisions[0])
        return [made[f"rel-retort-{n}"]["metadata"]["annotations"]["checksum/redis"] for n in ("gateway", "redis")]

    assert marks("7") == ["7", "7"]
    assert marks("8") == ["8", "8"]


def test_the_gateway_is_given_redis_by_an_address_with_the_password_in_it(helm: Helm) -> None:
    _, gateway = container(helm.render(), "gateway")
    assert environment(gateway)["RETORT_REDIS_URL"] == "redis://:$(REDIS_PASSWORD)@rel-retort-redis:6379/0"
    names = [entry["name"] for entry in gateway["env"]]
    assert names.index("REDIS_PASSWORD") < names.index("RETORT_REDIS_URL")  # the kubelet expands what came before
    _, existing = container(helm.render(values("existing")), "gateway")
    assert of_secret(existing) == {
        "RETORT_REDIS_URL": ("tickets-redis", "url"),
        "OTEL_EXPORTER_OTLP_HEADERS": ("tickets-otlp", "headers"),
    }


def test_without_redis_the_gateway_counts_alone(helm: Helm) -> None:
    revision = helm.play(("install", at("redis.enabled", value=False))).revisions[0]
    assert kind(revision, "StatefulSet") == []
    assert load(environment(container(revision, "gateway")[1])).redis_url is None
