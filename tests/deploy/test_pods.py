"""What every pod of every variant keeps to: the restricted standard, no token, no more than it needs to know."""

import yaml

from tests.deploy.chart import VARIANTS, container, containers, kind, of_secret, pods, values
from tests.deploy.helm import Helm, Revision

# What each container may know.
MAY_READ = {
    "gateway": {"REDIS_PASSWORD", "RETORT_REDIS_URL", "OTEL_EXPORTER_OTLP_HEADERS"},
    "redis": {"REDISCLI_AUTH"},
    "triton": {"RETORT_TRITON_API_KEY"},
    "loader": {"RETORT_TRITON_API_KEY"},
    "test": {"API_KEY"},
    "load": {"RETORT_API_KEY"},
}


def test_every_pod_keeps_the_restricted_standard(variant: Revision) -> None:
    for pod, found in containers(variant):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not any("hostPath" in volume for volume in pod["volumes"])
        context = found["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_every_part_has_an_account_of_its_own_and_no_token(variant: Revision) -> None:
    accounts: dict[str, set[str]] = {}
    for pod in pods(variant).values():
        spec, labels = pod["spec"], pod["metadata"]["labels"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert variant.find("ServiceAccount", spec["serviceAccountName"])["automountServiceAccountToken"] is False
        accounts.setdefault(spec["serviceAccountName"], set()).add(labels["app.kubernetes.io/component"])
    assert all(len(parts) == 1 for parts in accounts.values())
    assert {account["metadata"]["name"] for account in kind(variant, "ServiceAccount")} == set(accounts)


def test_volumes_are_bounded_and_mounted(variant: Revision) -> None:
    for pod, found in containers(variant):
        for volume in pod["volumes"]:
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})
        mounted = {mount["name"] for mount in found["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]} | {"data"}


def test_only_training_may_write_the_repository(variant: Revision) -> None:
    for _, found in containers(variant):
        for mount in found["volumeMounts"]:
            if mount["name"] == "model-repository":
                assert mount.get("readOnly", False) is (found["name"] != "training")


def test_containers_know_only_their_own_secrets(variant: Revision) -> None:
    for _, found in containers(variant):
        assert of_secret(found).keys() <= MAY_READ.get(found["name"], set())


def test_secrets_and_claims_that_pods_name_exist_or_are_the_platforms(helm: Helm) -> None:
    for name, path in VARIANTS.items():
        revision = helm.render(values(name))
        made = {secret["metadata"]["name"]: set(secret["data"]) for secret in kind(revision, "Secret")}
        claims = {claim["metadata"]["name"] for claim in kind(revision, "PersistentVolumeClaim")}
        foreign = set(_strings(yaml.safe_load(path.read_text())))
        for pod, found in containers(revision):
            wanted = list(of_secret(found).values())
            for volume in pod["volumes"]:
                sources = [volume, *volume.get("projected", {}).get("sources", [])]
                secrets = [source["secret"] for source in sources if "secret" in source]
                wanted += [
                    (secret.get("name") or secret["secretName"], item["key"])
                    for secret in secrets
                    for item in secret["items"]
                ]
                assert volume.get("persistentVolumeClaim", {}).get("claimName") in claims | foreign | {None}
                config = volume.get("configMap", {}).get("name")
                assert config in {found["metadata"]["name"] for found in kind(revision, "ConfigMap")} | {None}
            assert all(secret in foreign or entry in made[secret] for secret, entry in wanted)


def _strings(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _strings(value)]
    return [node] if isinstance(node, str) else []


def test_labels_and_annotations_of_the_platform_reach_every_pod(helm: Helm) -> None:
    for pod in pods(helm.render(values("everything"))).values():
        assert pod["metadata"]["labels"]["team"] == "search"
        assert pod["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_redis_evicts_only_what_may_go_and_writes_ahead(helm: Helm) -> None:
    revision = helm.render()
    pod, redis = container(revision, "redis")
    options = dict(zip(redis["args"][::2], redis["args"][1::2], strict=True))
    assert options["--maxmemory-policy"] == "volatile-lru"
    assert options["--appendonly"] == "yes"
    assert options["--requirepass"] == "$(REDISCLI_AUTH)"
    assert of_secret(redis)["REDISCLI_AUTH"] == ("rel-retort-redis", "password")
    assert pod["securityContext"]["runAsUser"] == 999
