"""A real cluster for the tests of this folder, and the figures that they leave.

`make e2e-kube` runs them; it needs
  KUBECONFIG    the cluster, one that a test may use: a namespace is made in it and removed
  E2E_IMAGES    what comes before the images' names, e.g. registry.example.com/team/; empty: the nodes have them
  E2E_TAG       the images' tag; empty: the chart's appVersion
  E2E_VALUES    a file of further values, e.g. a storage class or pull secrets
and kubectl. The cluster needs a default storage class. For autoscaling, the cluster's API of custom metrics is used;
where there is none, the tests register one for their time.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.helm import CHART, ROOT
from tests.e2e_kube.cluster import Cluster
from tests.e2e_kube.release import Release, merge

IMAGES = {
    "gateway": "retort-gateway",
    "modelServer": "retort-model-server",
    "training": "retort-training",
    "bootstrap": "retort-demo",
}
Figures = dict[str, Any]
FIGURES = pytest.StashKey[Figures]()
NEEDED = "{}: `make e2e-kube` tries the chart in a real cluster; tests/e2e_kube/conftest.py says what it needs"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show what was measured."""
    if figures := config.stash.get(FIGURES, {}):
        terminalreporter.section("e2e-kube: what was measured")
        terminalreporter.write_line(json.dumps(figures, indent=2))


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Iterator[Figures]:
    """Collect what the tests measure, for the summary and for runs/e2e-kube.json."""
    measured = pytestconfig.stash.setdefault(FIGURES, {})
    yield measured
    path = ROOT / "runs" / "e2e-kube.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measured, indent=2) + "\n")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A namespace of its own in the cluster of KUBECONFIG; skipped without one, or unless `make` asked."""
    if os.environ.get("E2E_KUBE") != "1":
        pytest.skip(NEEDED.format("not asked for"))
    kubeconfig = Path(os.environ.get("KUBECONFIG") or "none")
    if not kubeconfig.is_file():
        pytest.skip(NEEDED.format("KUBECONFIG names no file"))
    if not shutil.which("kubectl"):
        pytest.skip(NEEDED.format("there is no kubectl"))
    found = Cluster(kubeconfig.resolve(), f"retort-e2e-{secrets.token_hex(3)}")
    found.run("create", "namespace", found.namespace)
    yield found
    found.run("delete", "namespace", found.namespace, "--wait=true", timeout_s=300)


def image(part: str) -> dict[str, str]:
    """Return an image's values."""
    tag = os.environ.get("E2E_TAG") or yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    return {"repository": os.environ.get("E2E_IMAGES", "") + IMAGES[part], "tag": tag}


@pytest.fixture(scope="session")
def values() -> Mapping[str, Any]:
    """The default install, with the images' places."""
    given = os.environ.get("E2E_VALUES")
    more = yaml.safe_load(Path(given).read_text()) if given else {}
    images = {part: {"image": image(part)} for part in IMAGES}
    return merge(merge(images, {"modelRepository": {"keepOnUninstall": False}}), more)


@pytest.fixture(scope="session")
def release(
    cluster: Cluster, values: Mapping[str, Any], figures: Figures, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The chart with its default values, ready; a client pod beside it."""
    place = image("gateway")
    cluster.start_client(f"{place['repository']}:{place['tag']}", "IfNotPresent")
    made = Release(cluster, tmp_path_factory.mktemp("release"), values)
    figures["kubernetes"] = ".".join(map(str, cluster.version()))
    figures["install_s"] = round(made.install(timeout_s=300), 1)
    yield made
    if made.installed:
        made.uninstall()


@pytest.fixture(scope="session")
def fleet(release: Release) -> Release:
    """Two pods of each server, with small requests so that a small cluster has room for a third during an upgrade."""
    release.upgrade(FLEET)
    return release


FLEET = {
    "gateway": {
        "replicas": 2,
        "defaultModel": "support-tickets",
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
    },
    "modelServer": {"replicas": 2, "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}}},
    "training": {"resources": {"requests": {"cpu": "50m"}}},
}
