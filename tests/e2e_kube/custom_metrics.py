"""An API service of custom metrics: the cluster's own, else the adapter beside this file for the time of a block."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e_kube.cluster import LOCKED, RESTRICTED, Cluster, Json, wait_until

API = "v1beta1.custom.metrics.k8s.io"
GROUP = "custom.metrics.k8s.io"
ADAPTER = Path(__file__).with_name("adapter.py")


@contextmanager
def custom_metrics(cluster: Cluster, *metrics: str) -> Iterator[None]:
    """Have the API answer for these metrics of the gateway's pods."""
    if f"apiservice.apiregistration.k8s.io/{API}" in cluster.run("get", "apiservices", "--output", "name").split():
        yield
        return
    client = cluster.find("pods", "")
    image = next(pod["spec"]["containers"][0]["image"] for pod in client if pod["metadata"]["name"] == "client")
    cluster.apply(*objects(cluster.namespace, image, metrics))
    try:
        wait_until(lambda: answers(cluster, metrics[0]), "custom metrics", 120)
        yield
    finally:
        cluster.run("delete", "apiservice", API)


def answers(cluster: Cluster, metric: str) -> bool:
    """Ask for the metric of every pod, as an HPA does."""
    path = f"/apis/{GROUP}/v1beta1/namespaces/{cluster.namespace}/pods/*/{metric}"
    done = subprocess.run(cluster.command("get", "--raw", path), capture_output=True, text=True, check=False)
    return done.returncode == 0 and bool(json.loads(done.stdout)["items"])


def objects(namespace: str, image: str, metrics: tuple[str, ...]) -> list[Json]:
    """Return the adapter's objects. Its label is the one by which the chart's NetworkPolicy lets Prometheus in."""
    named: Json = {"name": "adapter", "namespace": namespace}
    labels = {"app.kubernetes.io/name": "prometheus", "e2e": "adapter"}
    service = {"name": "adapter", "namespace": namespace, "port": 443}
    container = {
        "name": "adapter",
        "image": image,
        "securityContext": LOCKED,
        "command": ["python", "-c", ADAPTER.read_text(), *metrics],
        "volumeMounts": [{"name": "certificate", "mountPath": "/etc/adapter"}],
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": named,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "adapter"},
            "subjects": [{"kind": "ServiceAccount", **named}],
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": certificate()},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": named | {"labels": labels},
            "spec": {
                "serviceAccountName": "adapter",
                "containers": [container],
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "certificate", "secret": {"secretName": "adapter"}}],
                **RESTRICTED,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"selector": {"e2e": "adapter"}, "ports": [{"port": 443, "targetPort": 6443, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                "service": service,
                "group": GROUP,
                "version": "v1beta1",
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]


def certificate() -> dict[str, str]:
    """Return a certificate that nobody checks, and its key."""
    with TemporaryDirectory() as folder:
        key, crt = Path(folder, "tls.key"), Path(folder, "tls.crt")
        subject = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=adapter"]
        command = ["openssl", "req", *subject, "-keyout", str(key), "-out", str(crt)]
        subprocess.run(command, check=True, capture_output=True)
        return {"tls.key": key.read_text(), "tls.crt": crt.read_text()}
