"""The real Helm engine in a process of its own: each JSON line in is a story to play, each line out what came of it.

A process of its own, because the engine reads HELM_DRIVER (`memory`: no release records in the cluster) from the
environment that its process was started with.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import helm_sdkpy
import yaml

from tests.deploy.cluster import Cluster, Json, serving

ACTIONS = {"install": helm_sdkpy.Install, "upgrade": helm_sdkpy.Upgrade}


def play(
    chart: str,
    version: str,
    release: str,
    namespace: str,
    present: list[Json],
    steps: list[tuple[str, Mapping[str, Any]]],
) -> Json:
    """Play `steps` ((install | upgrade | uninstall, values)) in a cluster with `present`; stops where Helm refuses."""
    cluster, done = Cluster(version, present), []
    with serving(cluster) as kubeconfig:
        configuration = helm_sdkpy.Configuration(namespace=namespace, kubeconfig=kubeconfig)
        try:
            for action, values in steps:
                if action == "uninstall":
                    asyncio.run(helm_sdkpy.Uninstall(configuration).run(release, wait=False))
                    continue
                run = ACTIONS[action](configuration).run(release, chart, values=dict(values), wait=False)
                said = asyncio.run(run)
                done.append({"documents": documents(said), "notes": said["info"]["notes"]})
        except helm_sdkpy.HelmError as error:
            return {"refused": str(error), "done": done, "left": list(cluster.objects.values())}
    return {"refused": None, "done": done, "left": list(cluster.objects.values())}


def documents(release: Json) -> list[Json]:
    """Return a release's objects, those of its hooks last."""
    hooks = "\n---\n".join(hook["manifest"] for hook in release.get("hooks") or [])
    return [document for document in yaml.safe_load_all(f"{release['manifest']}\n---\n{hooks}") if document]


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(play(**json.loads(line))) + "\n")
        sys.stdout.flush()
