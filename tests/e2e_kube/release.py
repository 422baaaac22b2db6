"""A release of the chart in a real cluster, by the real Helm engine."""

import asyncio
import base64
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_sdkpy

from tests.deploy.helm import CHART
from tests.e2e_kube.cluster import Cluster

NAME = "shop"
OLDEST = (1, 29)
# What clusters before OLDEST lack, and what they have instead. The chart itself refuses them.
OLDER = {
    "autoscaling/v2\n": "autoscaling/v2beta2\n",
    "policy/v1\n": "policy/v1beta1\n",
    "  unhealthyPodEvictionPolicy: AlwaysAllow\n": "",
    'kubeVersion: ">=1.29.0-0"': "",
}


class Release:
    """The chart under one name."""

    def __init__(self, cluster: Cluster, folder: Path, values: Mapping[str, Any]) -> None:
        self._cluster, self._values = cluster, values
        self._configuration = helm_sdkpy.Configuration(
            namespace=cluster.namespace, kubeconfig=cluster.kubeconfig.read_text()
        )
        self._chart = CHART if cluster.version() >= OLDEST else _for_older(folder / "chart")
        self.installed = False
        self.started_at = 0.0

    @property
    def labels(self) -> str:
        """What selects everything that belongs to it."""
        return f"app.kubernetes.io/instance={NAME}"

    @property
    def host(self) -> str:
        """The gateway's Service."""
        return f"{NAME}-retort-gateway"

    def key(self) -> str:
        """Return the API key that the chart generated."""
        (secret,) = self._cluster.find("secrets", f"{self.labels},app.kubernetes.io/component=api-keys")
        return base64.b64decode(secret["data"]["api-key"]).decode()

    def install(self, timeout_s: int) -> float:
        """Install and wait until all is ready; return the seconds."""
        self.started_at = time.time()
        return self._run(helm_sdkpy.Install, {}, timeout_s)

    def upgrade(self, values: Mapping[str, Any], timeout_s: int = 300) -> float:
        """Upgrade to these values and wait until all is ready; return the seconds."""
        return self._run(helm_sdkpy.Upgrade, values, timeout_s)

    def _run(self, action: Any, values: Mapping[str, Any], timeout_s: int) -> float:
        start = time.monotonic()
        merged = merge(self._values, values)
        run = action(self._configuration).run(NAME, str(self._chart), values=merged, wait=True, timeout=timeout_s)
        asyncio.run(run)
        self.installed = True
        return time.monotonic() - start

    def test(self) -> None:
        """Run `helm test`; HelmError when it fails."""
        asyncio.run(helm_sdkpy.ReleaseTest(self._configuration).run(NAME))
        # The command does this, as the pod's annotation asks; the library leaves it to its caller.
        test = f"{self.labels},app.kubernetes.io/component=test"
        self._cluster.run("delete", "pod", "--selector", test)

    def uninstall(self) -> float:
        """Uninstall and wait until it is gone; return the seconds."""
        start = time.monotonic()
        self.installed = False
        asyncio.run(helm_sdkpy.Uninstall(self._configuration).run(NAME, wait=True))
        return time.monotonic() - start


def merge(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with those of `over` in their place, as Helm merges files."""
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def _for_older(folder: Path) -> Path:
    shutil.copytree(CHART, folder)
    for path in (*folder.glob("templates/*.yaml"), folder / "Chart.yaml"):
        text = path.read_text()
        for new, old in OLDER.items():
            text = text.replace(new, old)
        path.write_text(text)
    return folder
