"""The chart as the real Helm engine renders it, in every variant and for several versions of Kubernetes."""

import kubernetes_validate
import pytest
from pydantic import BaseModel

from gateway.settings import Settings as GatewaySettings
from gateway.settings import load
from model_server.control import KEY_NAME
from model_server.launcher import RESTRICTED, command
from model_server.settings import Settings as ModelServerSettings
from model_server.settings import load as load_model_server
from tests.deploy import custom_kinds
from tests.deploy.chart import VARIANTS, component, container, containers, environment, kind, of_secret, pods, values
from tests.deploy.cluster import KINDS
from tests.deploy.helm import NEWEST, Helm, Revision


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.34", NEWEST])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_fits_its_schema(helm: Helm, name: str, version: str) -> None:
    documents = helm.render(values(name), version).documents
    assert {"Deployment", "Service", "ServiceAccount"} <= {document["kind"] for document in documents}
    for document in documents:
        if document["kind"] in custom_kinds.KINDS:
            custom_kinds.check(document)
        else:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_variants_have_every_kind_that_the_chart_can_make(helm: Helm) -> None:
    made = {document["kind"] for name in VARIANTS for document in helm.render(values(name)).documents}
    assert made == {found for kinds in KINDS.values() for found in kinds.values()} | {"Pod"}


def test_the_newest_known_kubernetes_is_among_them() -> None:
    assert kubernetes_validate.latest_version().startswith(f"{NEWEST}.")


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    assert "1.29" in (helm.play(("install", {}), version="1.28").refused or "")


def test_names_are_unique_and_in_the_release_namespace(variant: Revision) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in variant.documents]
    assert len(set(names)) == len(names)
    assert all(document["metadata"]["namespace"] == "shop" for document in variant.documents)
    assert all(len(name) <= 63 for _, name in names)


def test_the_longest_release_name_still_fits(helm: Helm) -> None:
    for name in ("everything", "values-gpu"):
        revision = helm.render(values(name, fullnameOverride="x" * 60))
        assert all(len(document["metadata"]["name"]) <= 63 for document in revision.documents)


def test_selectors_match_labels(variant: Revision) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(variant).items()}
    for workload in kind(variant, "Deployment") + kind(variant, "StatefulSet"):
        wanted = workload["spec"]["selector"]["matchLabels"].items()
        assert [name for name, own in labels.items() if wanted <= own.items()] == [workload["metadata"]["name"]]
    for service in kind(variant, "Service"):
        wanted = service["spec"]["selector"].items()
        assert len([name for name, own in labels.items() if wanted <= own.items()]) == 1
    for budget in kind(variant, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert [name for name, own in labels.items() if wanted <= own.items()] == [budget["metadata"]["name"]]
    for pod in pods(variant).values():
        for spread in pod["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_ports_are_the_ones_that_somebody_listens_on(variant: Revision) -> None:
    for service in kind(variant, "Service"):
        selector = service["spec"]["selector"].items()
        (pod,) = [pod for pod in pods(variant).values() if selector <= pod["metadata"]["labels"].items()]
        open_ports = {port["name"] for c in pod["spec"]["containers"] for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports
        assert all(port["protocol"] == "TCP" for port in service["spec"]["ports"])
    for _, found in containers(variant):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            check = found.get(probe, {})
            port = (check.get("httpGet") or check.get("tcpSocket") or {}).get("port")
            assert port is None or port in {entry["name"] for entry in found["ports"]}


def test_ingresses_and_monitors_name_ports_of_services(helm: Helm) -> None:
    revision = helm.render(values("everything"))
    ports = {
        (service["metadata"]["name"], port["name"]): component(service["metadata"]["labels"])
        for service in kind(revision, "Service")
        for port in service["spec"]["ports"]
    }
    for ingress in kind(revision, "Ingress"):
        (rule,) = ingress["spec"]["rules"]
        backend = rule["http"]["paths"][0]["backend"]["service"]
        assert ports[backend["name"], backend["port"]["name"]] == "gateway"
        assert rule["host"].startswith("grpc.") is (backend["port"]["name"] == "grpc")
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    monitored = {
        (component(monitor["spec"]["selector"]["matchLabels"]), endpoint["port"])
        for monitor in kind(revision, "ServiceMonitor")
        for endpoint in monitor["spec"]["endpoints"]
    }
    assert monitored == {("gateway", "metrics"), ("model-server", "triton-metrics"), ("model-server", "loader")}
    assert monitored <= {(part, port) for (_, port), part in ports.items()}
    assert len([name for name, port in ports if port == "metrics"]) == 1


def test_every_server_is_probed_from_its_start(variant: Revision) -> None:
    for pod, found in containers(variant):
        if "ports" in found:
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= found.keys()
            start = found["startupProbe"]
            assert start["periodSeconds"] * start["failureThreshold"] >= 60
        else:
            assert pod.get("restartPolicy") == "Never" or found["name"] == "load"


def test_the_gateway_listens_where_the_chart_says_and_finds_triton(variant: Revision) -> None:
    _, gateway = container(variant, "gateway")
    settings = load(environment(gateway))
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    admin = {"admin": settings.admin_port} if settings.admin_key_file else {}
    assert ports == {"http": settings.http_port, "grpc": settings.grpc_port, "metrics": settings.metrics_port} | admin
    host, port = settings.upstreams[0].split(":")
    service = variant.find("Service", host)
    assert int(port) in {entry["port"] for entry in service["spec"]["ports"]}
    assert component(service["spec"]["selector"]) == "model-server"
    assert service["spec"]["clusterIP"] == "None"  # the client balances over pods; a virtual IP would pin it to one


def test_the_model_server_listens_where_the_chart_says(variant: Revision) -> None:
    pod = pods(variant)[variant.find_part("Deployment", "model-server")["metadata"]["name"]]["spec"]
    (server,) = [c for c in pod["containers"] if "RETORT_TRITON_HOST" in environment(c)]
    settings = load_model_server(environment(server))
    ports = {port["name"]: port["containerPort"] for c in pod["containers"] for port in c["ports"]}
    assert ports == {
        "triton-http": settings.triton_http_port,
        "triton-grpc": settings.triton_grpc_port,
        "triton-metrics": settings.triton_metrics_port,
        "loader": settings.loader_port,
    }
    assert settings.triton_host == "0.0.0.0"


def test_everything_set_is_a_setting_of_its_part(variant: Revision) -> None:
    own: dict[str, type[BaseModel]] = {"gateway": GatewaySettings, "model-server": ModelServerSettings}
    own["loader"] = own["triton"] = ModelServerSettings
    for _, found in containers(variant):
        names = {name for name in environment(found).keys() | of_secret(found).keys() if name.startswith("RETORT_")}
        if found["name"] == "load":
            assert names <= {"RETORT_API_KEY"}
            continue
        fields = own[found["name"]].model_fields if found["name"] in own else ()
        assert names <= {f"RETORT_{field.upper()}" for field in fields}


def test_numbers_reach_the_gateway_as_they_were_written(helm: Helm) -> None:
    _, gateway = container(helm.render(values("everything")), "gateway")
    settings = load(environment(gateway))
    assert (settings.gateway_max_body_bytes, settings.gateway_poll_s) == (2097152, 2.5)
    assert (settings.gateway_trace_share, settings.log_level, settings.default_model) == (
        0.05,
        "debug",
        "support-tickets",
    )


def test_the_gateway_has_time_to_drain(variant: Revision) -> None:
    pod, gateway = container(variant, "gateway")
    settings = load(environment(gateway))
    ready = gateway["readinessProbe"]
    assert settings.gateway_drain_s > ready["periodSeconds"] * ready["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] > settings.gateway_drain_s + settings.gateway_shutdown_s
    assert "preStop" not in gateway.get("lifecycle", {})  # the process waits by itself


def test_the_model_server_goes_on_answering_until_gateways_have_looked_away(variant: Revision) -> None:
    pod = variant.find_part("Deployment", "model-server")["spec"]["template"]["spec"]
    for server in pod["containers"]:
        program, seconds = server["lifecycle"]["preStop"]["exec"]["command"]
        assert program == "sleep"
        assert int(seconds) > GatewaySettings().gateway_probe_s + 5  # the name server's memory
        assert pod["terminationGracePeriodSeconds"] > int(seconds) + 15  # the launcher's patience with Triton


def test_nvidias_triton_is_started_as_our_launcher_starts_its_own(helm: Helm) -> None:
    revision = helm.render(values("values-gpu"))
    _, triton = container(revision, "triton")
    _, loader = container(revision, "loader")
    assert of_secret(triton) == of_secret(loader)
    own = command(
        load_model_server({"RETORT_MODEL_REPOSITORY": "/model-repo"}), "$(RETORT_TRITON_API_KEY)", VARIANTS["default"]
    )
    places = ("address", "port=", "backend")  # NVIDIA's defaults are every address, these ports and its own backends
    assert set(triton["args"]) == {word for word in own[1:] if not any(place in word for place in places)}
    assert f"{RESTRICTED}:{KEY_NAME}=" in triton["args"][5]
    assert loader["command"] == ["python", "-m", "model_server.loader"]
    assert load_model_server(environment(loader)).triton_tensorrt == "FP16"
    assert {"nvidia.com/gpu"} <= triton["resources"]["limits"].keys()
    assert "nvidia.com/gpu" not in loader["resources"]["limits"]


def test_images_are_pinned_and_resources_are_bounded(variant: Revision) -> None:
    for _, found in containers(variant):
        _, _, tag = found["image"].rpartition(":")
        assert tag not in ("", "latest", found["image"])
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= found["resources"][bound].keys()


def test_pods_that_mount_a_claim_of_one_node_are_kept_together(helm: Helm) -> None:
    for name, together in (("default", True), ("everything", False), ("existing", False)):
        for pod, found in containers(helm.render(values(name))):
            if "model-repository" in {mount["name"] for mount in found["volumeMounts"]}:
                assert ("affinity" in pod) is together


def test_replicas_are_spread(variant: Revision) -> None:
    for part in ("gateway", "model-server"):
        spec = variant.find_part("Deployment", part)["spec"]["template"]["spec"]
        spread = {constraint["topologyKey"] for constraint in spec["topologySpreadConstraints"]}
        assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_a_drained_node_takes_one_pod_of_each_server_at_a_time(helm: Helm) -> None:
    budgets = kind(helm.render(), "PodDisruptionBudget")
    assert [component(budget["spec"]["selector"]["matchLabels"]) for budget in budgets] == ["gateway", "model-server"]
    assert {budget["spec"]["maxUnavailable"] for budget in budgets} == {1}
    assert kind(helm.render(values("open")), "PodDisruptionBudget") == []


def test_locust_is_pointed_at_the_gateway(helm: Helm) -> None:
    for name, address in (
        ("values-staging", "http://rel-retort-gateway:8080"),
        ("existing", "https://rel-retort-gateway:8080"),
        ("everything", "grpc://tickets-gateway:8081"),
    ):
        runs = [found for _, found in containers(helm.render(values(name))) if found["name"] == "load"]
        for run in runs:
            assert run["command"][run["command"].index("--host") + 1] == address
        master, worker = sorted(runs, key=lambda run: "--worker" in run["command"])
        assert "--autostart" in master["command"]
        certificate = {"LOADTEST_CA": "/run/retort/tls.crt"} if address.startswith("https") else {}
        assert environment(master) == environment(worker) == certificate
        host = worker["command"][worker["command"].index("--master-host") + 1]
        assert host in {s["metadata"]["name"] for s in kind(helm.render(values(name)), "Service")}
