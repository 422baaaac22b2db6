"""An in-memory Kubernetes API: discovery and objects by their URL, which is all that Helm asks for without waiting."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import yaml

Json = dict[str, Any]

# group version -> plural -> kind; every kind here is namespaced.
KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": {
        "configmaps": "ConfigMap",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "batch/v1": {"cronjobs": "CronJob", "jobs": "Job"},
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
    "monitoring.coreos.com/v1": {"prometheusrules": "PrometheusRule", "servicemonitors": "ServiceMonitor"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


class Cluster:
    """What was applied so far: `objects` maps `/apis/apps/v1/namespaces/default/deployments/x` to the object."""

    def __init__(self, version: str, present: Iterable[Json] = ()) -> None:
        self.version = version
        self.objects: dict[str, Json] = {}
        for found in present:
            self._create(_folder(found), found)
        self._lock = threading.Lock()

    def find(self, kind: str, name: str) -> Json:
        """Return one object; KeyError when there is none."""
        return next(o for o in self.objects.values() if o["kind"] == kind and o["metadata"]["name"] == name)

    def respond(self, method: str, path: str, body: Json | None) -> tuple[int, Json]:
        """Answer one call of the API: status and JSON."""
        with self._lock:
            if method == "GET" and (found := self._discovery(path) or self.objects.get(path)) is not None:
                return 200, found
            if method == "POST" and body is not None:
                return self._create(path, body)
            if path not in self.objects:
                return 404, _failure(404, "NotFound", f"{path} not found")
            if method == "DELETE":
                return 200, self.objects.pop(path)
            if method in ("PATCH", "PUT") and body is not None:
                self.objects[path] = _merge(self.objects[path], body) if method == "PATCH" else body
                return 200, self.objects[path]
        return 405, _failure(405, "MethodNotAllowed", f"{method} {path}")

    def _create(self, path: str, body: Json) -> tuple[int, Json]:
        group, _, plural = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")
        kind = KINDS.get(group.partition("/namespaces/")[0], {}).get(plural)
        if body["kind"] != kind:
            return 400, _failure(400, "BadRequest", f"{body['kind']} posted to {path}")
        url = f"{path}/{body['metadata']['name']}"
        if url in self.objects:
            return 409, _failure(409, "AlreadyExists", f"{url} exists")
        self.objects[url] = body
        return 201, body

    def _discovery(self, path: str) -> Json | None:
        major, minor = self.version.split(".")
        groups = sorted(group for group in KINDS if "/" in group)
        fixed: dict[str, Json] = {
            "/version": {"major": major, "minor": minor, "gitVersion": f"v{self.version}.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups]},
        }
        group = path.removeprefix("/apis/").removeprefix("/api/")
        return _resources(group) if group in KINDS else fixed.get(path)


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """Serve `cluster` on a free loopback port; yields a kubeconfig."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, found = cluster.respond(self.command, urlsplit(self.path).path, json.loads(content or b"null"))
            encoded = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield _kubeconfig(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def _kubeconfig(url: str) -> str:
    # YAML, not JSON: the engine takes a string that begins with a brace for a path.
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "memory", "cluster": {"server": url}}],
            "users": [{"name": "anybody", "user": {}}],
            "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "anybody"}}],
            "current-context": "memory",
        }
    )


def _folder(found: Json) -> str:
    """Return where objects of this kind are posted."""
    group = found["apiVersion"]
    (plural,) = [plural for plural, kind in KINDS[group].items() if kind == found["kind"]]
    return f"/{'apis' if '/' in group else 'api'}/{group}/namespaces/{found['metadata']['namespace']}/{plural}"


def _group(group_version: str) -> Json:
    name, _, version = group_version.partition("/")
    entry = {"groupVersion": group_version, "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def _resources(group_version: str) -> Json:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": [
            {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": VERBS}
            for plural, kind in KINDS[group_version].items()
        ],
    }


def _failure(code: int, reason: str, message: str) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def _merge(present: Json, patch: Json) -> Json:
    """RFC 7396, which is close enough to a strategic merge for maps."""
    merged = dict(present)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return merged
