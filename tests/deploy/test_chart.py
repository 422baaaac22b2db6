"""The chart as the real Helm engine renders it, in every variant of `ci/` and for several versions of Kubernetes."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel

from gateway.security.auth import ApiKeys
from gateway.settings import Settings as GatewaySettings
from gateway.settings import load
from model_server.settings import Settings as ModelServerSettings
from model_server.settings import load as load_model_server
from tests.deploy.cluster import Json
from tests.deploy.helm import CHART, NEWEST, Helm, Revision

VARIANTS = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
WORKLOADS = ("Deployment", "StatefulSet", "Job")


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, helm: Helm) -> Revision:
    """Each variant of the values in turn."""
    return helm.render(values(request.param))


def values(variant: str, **more: Any) -> str:
    """Return a variant's values as JSON, some of them replaced."""
    return json.dumps({**yaml.safe_load(VARIANTS[variant].read_text()), **more})


def workloads(revision: Revision) -> list[Json]:
    """Return everything that makes pods."""
    return [document for document in revision.documents if document["kind"] in WORKLOADS]


def containers(revision: Revision) -> Iterator[tuple[Json, Json]]:
    """Yield (pod spec, container)."""
    for workload in workloads(revision):
        pod = workload["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield pod, container


def container(revision: Revision, name: str) -> tuple[Json, Json]:
    """Return (pod spec, container) of one container."""
    return next((pod, found) for pod, found in containers(revision) if found["name"] == name)


def environment(container: Json) -> dict[str, str]:
    """Return what the container's environment says in the clear."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


@pytest.mark.parametrize("version", ["1.29", "1.31", NEWEST])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_fits_its_schema(helm: Helm, name: str, version: str) -> None:
    documents = helm.render(values(name), version).documents
    assert {"Deployment", "Service", "ServiceAccount"} <= {document["kind"] for document in documents}
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_newest_known_kubernetes_is_among_them() -> None:
    assert kubernetes_validate.latest_version().startswith(f"{NEWEST}.")


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    assert "1.29" in (helm.play(("install", {}), version="1.28").refused or "")


def test_names_are_unique_and_in_the_release_namespace(variant: Revision) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in variant.documents]
    assert len(set(names)) == len(names)
    assert all(document["metadata"]["namespace"] == "shop" for document in variant.documents)
    assert all(len(name) <= 63 for _, name in names)


def test_selectors_match_labels(variant: Revision) -> None:
    pods = {w["metadata"]["name"]: w["spec"]["template"]["metadata"]["labels"] for w in workloads(variant)}
    for workload in workloads(variant):
        if workload["kind"] != "Job":
            wanted = workload["spec"]["selector"]["matchLabels"].items()
            assert [name for name, labels in pods.items() if wanted <= labels.items()] == [workload["metadata"]["name"]]
    for service in (document for document in variant.documents if document["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        assert len([name for name, labels in pods.items() if wanted <= labels.items()]) == 1


def test_ports_are_the_ones_that_somebody_listens_on(variant: Revision) -> None:
    for service in (document for document in variant.documents if document["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        pods = [w["spec"]["template"] for w in workloads(variant)]
        (pod,) = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        open_ports = {port["name"] for c in pod["spec"]["containers"] for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports
    for _, found in containers(variant):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            check = found.get(probe, {})
            port = (check.get("httpGet") or check.get("tcpSocket") or {}).get("port")
            assert port is None or port in {entry["name"] for entry in found["ports"]}


def test_the_gateway_listens_where_the_chart_says_and_finds_triton(variant: Revision) -> None:
    _, gateway = container(variant, "gateway")
    settings = load(environment(gateway))
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    assert ports == {"http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port}
    host, port = settings.upstreams[0].split(":")
    service = variant.find("Service", host)
    assert int(port) in {entry["port"] for entry in service["spec"]["ports"]}
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "model-server"
    assert service["spec"]["clusterIP"] == "None"  # the client balances over pods; a virtual IP would pin it to one


def test_the_model_server_listens_where_the_chart_says(variant: Revision) -> None:
    pod, server = container(variant, "model-server")
    settings = load_model_server(environment(server))
    assert {port["name"]: port["containerPort"] for port in server["ports"]} == {
        "triton-http": settings.triton_http_port,
        "triton-grpc": settings.triton_grpc_port,
        "triton-metrics": settings.triton_metrics_port,
        "loader": settings.loader_port,
    }
    assert settings.triton_host == "0.0.0.0"
    assert pod["terminationGracePeriodSeconds"] >= settings.loader_grace_s


def test_everything_set_is_a_setting_of_its_part(variant: Revision) -> None:
    own: dict[str, type[BaseModel]] = {"gateway": GatewaySettings, "model-server": ModelServerSettings}
    for _, found in containers(variant):
        names = {name for name in environment(found) if name.startswith("RETORT_")}
        fields = own[found["name"]].model_fields if found["name"] in own else ()
        assert names <= {f"RETORT_{field.upper()}" for field in fields}


def test_images_are_pinned_and_resources_are_bounded(variant: Revision) -> None:
    for _, found in containers(variant):
        _, _, tag = found["image"].rpartition(":")
        assert tag not in ("", "latest", found["image"])
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= found["resources"][bound].keys()


def test_every_pod_keeps_the_restricted_standard(variant: Revision) -> None:
    for pod, found in containers(variant):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in pod["volumes"])
        context = found["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        variant.find("ServiceAccount", pod["serviceAccountName"])


def test_only_training_may_write_the_repository(variant: Revision) -> None:
    for pod, found in containers(variant):
        for mount in found["volumeMounts"]:
            if mount["name"] == "model-repository":
                assert mount.get("readOnly", False) is (found["name"] != "training")
        mounted = {mount["name"] for mount in found["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]} | {"data"}


def test_claims_and_secrets_that_pods_name_exist_or_are_the_platforms(helm: Helm) -> None:
    for name in VARIANTS:
        revision = helm.render(values(name))
        given = yaml.safe_load(VARIANTS[name].read_text())
        own = {d["metadata"]["name"] for d in revision.documents if d["kind"] in ("Secret", "PersistentVolumeClaim")}
        foreign = {given.get("auth", {}).get("existingSecret"), given.get("modelRepository", {}).get("existingClaim")}
        named = {
            volume.get("secret", {}).get("secretName") or volume.get("persistentVolumeClaim", {}).get("claimName")
            for pod, _ in containers(revision)
            for volume in pod["volumes"]
        }
        assert named - {None} <= own | foreign


def test_the_generated_key_opens_the_gateway_and_stays_out_of_its_pod(helm: Helm, tmp_path: Path) -> None:
    revision = helm.render()
    data = {
        key: base64.b64decode(value) for key, value in revision.find("Secret", "rel-retort-api-keys")["data"].items()
    }
    assert len(data["api-key"]) >= 32  # of 62 characters: 190 bits
    (tmp_path / "keys").write_bytes(data["api-keys"])
    assert ApiKeys.read(tmp_path / "keys").caller(b"Bearer " + data["api-key"]).name == "default"
    pod, gateway = container(revision, "gateway")
    (volume,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert volume["items"] == [{"key": "api-keys", "path": "api-keys"}]
    (mount,) = [mount for mount in gateway["volumeMounts"] if mount["name"] == "api-keys"]
    assert environment(gateway)["RETORT_API_KEYS_FILE"] == f"{mount['mountPath']}/api-keys"


def test_without_auth_there_is_no_secret(helm: Helm) -> None:
    revision = helm.render(values("open"))
    assert not [document for document in revision.documents if document["kind"] == "Secret"]
    assert load(environment(container(revision, "gateway")[1])).auth == "off"


def test_generated_secrets_differ_by_release_and_survive_upgrades(helm: Helm) -> None:
    with_redis = {"redis": {"enabled": True}}
    first, second = helm.play(("install", with_redis), ("upgrade", with_redis)), helm.play(("install", with_redis))
    for name in ("rel-retort-api-keys", "rel-retort-redis"):
        before, after = (revision.find("Secret", name)["data"] for revision in first.revisions)
        assert before == after
        assert before != second.revisions[0].find("Secret", name)["data"]


def test_uninstalling_keeps_the_models_unless_told(helm: Helm) -> None:
    kept = helm.play(("install", {}), ("uninstall", {}))
    gone = helm.play(("install", {"modelRepository": {"keepOnUninstall": False}}), ("uninstall", {}))
    assert [document["kind"] for document in kept.left] == ["PersistentVolumeClaim"]
    assert gone.left == []


def test_an_upgrade_leaves_the_training_job_alone_until_its_work_changes(helm: Helm) -> None:
    trained = {"training": {"enabled": True}}
    other = {"training": {"enabled": True, "config": "configs/other.toml"}}
    story = helm.play(("install", trained), ("upgrade", {**trained, "redis": {"enabled": True}}), ("upgrade", other))
    jobs = [[d for d in revision.documents if d["kind"] == "Job"] for revision in story.revisions]
    assert jobs[0] == jobs[1]
    assert jobs[1][0]["metadata"]["name"] != jobs[2][0]["metadata"]["name"]
    assert jobs[2][0]["spec"]["template"]["spec"]["containers"][0]["args"][1] == "configs/other.toml"


def test_the_gateway_has_time_to_drain(variant: Revision) -> None:
    pod, gateway = container(variant, "gateway")
    settings = load(environment(gateway))
    ready = gateway["readinessProbe"]
    assert settings.gateway_drain_s > ready["periodSeconds"] * ready["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] > settings.gateway_drain_s + settings.gateway_shutdown_s


def test_redis_evicts_only_what_may_go_and_writes_ahead(helm: Helm) -> None:
    revision = helm.render(values("everything"))
    _, redis = container(revision, "redis")
    options = dict(zip(redis["args"][::2], redis["args"][1::2], strict=True))
    assert options["--maxmemory-policy"] == "volatile-lru"
    assert options["--appendonly"] == "yes"
    (entry,) = [entry for entry in redis["env"] if entry["name"] == "REDIS_PASSWORD"]
    source = entry["valueFrom"]["secretKeyRef"]
    assert source["key"] in revision.find("Secret", source["name"])["data"]


def test_dashboards_travel_whole(helm: Helm) -> None:
    data = helm.render(values("everything")).find("ConfigMap", "tickets-dashboards")["data"]
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert {path.name: json.loads(path.read_text()) for path in files} == {k: json.loads(v) for k, v in data.items()}


def test_the_notes_tell_the_next_command(helm: Helm) -> None:
    empty, existing = helm.render().notes, helm.render(values("existing")).notes
    assert "--set training.enabled=true" in empty
    assert "get secret rel-retort-api-keys" in empty
    assert "training.enabled" not in existing
    assert "the Secret tickets-keys" in existing
    assert "port-forward service/rel-retort-gateway" in existing
    assert "Bearer" not in helm.render(values("open")).notes


def test_the_readme_describes_every_value_and_its_default() -> None:
    def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict) and node and path != "dashboards.labels":
            for key, value in node.items():
                yield from leaves(value, f"{path}.{key}".lstrip("."))
        else:
            yield path, node

    rows = [line.split("`") for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    documented = {row[1]: json.loads(row[3]) for row in rows}
    assert documented == dict(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
