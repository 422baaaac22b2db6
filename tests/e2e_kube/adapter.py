"""A custom metrics API for one namespace: gauges read from its pods, so that an HPA works without prometheus-adapter.

Runs in a pod; imports the standard library alone.
"""

import json
import re
import ssl
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
GROUP = "/apis/custom.metrics.k8s.io/v1beta1"
QUESTION = re.compile(GROUP + r"/namespaces/([\w-]+)/(pods|services)/([\w*-]+)/(\w+)")


def pods(namespace: str) -> list[dict[str, Any]]:
    """Return the gateway's running pods."""
    request = urllib.request.Request(
        f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods?labelSelector=app.kubernetes.io/component=gateway",
        headers={"authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    context.check_hostname = False
    with urllib.request.urlopen(request, context=context, timeout=3) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
    return [pod for pod in items if pod["status"].get("podIP") and "deletionTimestamp" not in pod["metadata"]]


def gauge(address: str, metric: str) -> float | None:
    """Return the sum of a pod's series; None when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}:9091/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{metric}[{{ ]", line))


class Handler(BaseHTTPRequestHandler):
    """Discovery, a metric of every pod, a metric of a Service as their sum."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the API server."""
        path = self.path.partition("?")[0].rstrip("/").replace("%2A", "*")
        if path == GROUP:
            names = [f"{kind}/{metric}" for kind in ("pods", "services") for metric in sys.argv[1:]]
            resources = [
                {"name": name, "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
                for name in names
            ]
            self._say(
                200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP[6:], "resources": resources}
            )
        elif (asked := QUESTION.fullmatch(path)) and asked[4] in sys.argv[1:]:
            self._say(
                200,
                {"kind": "MetricValueList", "apiVersion": GROUP[6:], "metadata": {}, "items": items(*asked.groups())},
            )
        else:
            self._say(
                404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
            )

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def items(namespace: str, kind: str, name: str, metric: str) -> list[dict[str, Any]]:
    """Return the API's MetricValues."""
    values = {pod["metadata"]["name"]: gauge(pod["status"]["podIP"], metric) for pod in pods(namespace)}
    known = {pod: value for pod, value in values.items() if value is not None}
    if kind == "services":
        known = {name: sum(known.values())}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        {
            "describedObject": {
                "kind": kind[:-1].title(),
                "namespace": namespace,
                "name": described,
                "apiVersion": "v1",
            },
            "metricName": metric,
            "timestamp": now,
            "value": f"{round(value * 1000)}m",
        }
        for described, value in known.items()
    ]


if __name__ == "__main__":
    server = ThreadingHTTPServer(("0.0.0.0", 6443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/etc/adapter/tls.crt", "/etc/adapter/tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
