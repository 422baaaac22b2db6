"""The Dockerfiles: pinned, in stages, without root, and the same ports and pins as the rest of the repository."""

import ast
import re
import sys
import tomllib

import pytest
import yaml

from gateway.settings import load as load_gateway
from model_server.machine import WHEEL
from model_server.settings import load as load_model_server
from tests.deploy.helm import CHART, ROOT

DOCKERFILES = {
    "gateway": ROOT / "services/gateway/Dockerfile",
    "model-server": ROOT / "services/model_server/Dockerfile",
    "training": ROOT / "training/Dockerfile",
    "loadtests": ROOT / "loadtests/Dockerfile",
}


def lines(name: str) -> list[str]:
    """Return the instructions, continued lines joined."""
    joined = re.sub(r"\\\n(?:\s*#.*\n)*\s*", " ", DOCKERFILES[name].read_text())
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def stages(name: str) -> dict[str, list[str]]:
    """Return the instructions of each stage by its name; the last is the image."""
    found: dict[str, list[str]] = {}
    for line in lines(name):
        if line.startswith("FROM"):
            found[line.split()[-1]] = []
        if found:
            found[list(found)[-1]].append(line)
    return found


def images() -> list[tuple[str, str]]:
    """Return (Dockerfile, stage) of everything that is shipped."""
    return [(name, list(stages(name))[-1]) for name in DOCKERFILES] + [("training", "demo")]


@pytest.mark.parametrize(("name", "stage"), images())
def test_images_come_from_a_pinned_base_run_without_root_and_hold_no_tools(name: str, stage: str) -> None:
    assert lines(name)[0] == "ARG PYTHON_IMAGE=python:3.11-slim-bookworm"
    final = stages(name)[stage]
    assert final[0].split()[1] == "${PYTHON_IMAGE}"
    assert [line for line in final if line.startswith("USER")] == ["USER 10001:10001"]
    assert not any(word in line for line in final for word in ("pip ", "apt", "gcc", "curl"))
    assert any(line.startswith("HEALTHCHECK") for line in final)
    assert not DOCKERFILES[name].read_text().startswith("# syntax")  # it would pull a build frontend


@pytest.mark.parametrize(("name", "stage"), images())
def test_images_say_what_they_are(name: str, stage: str) -> None:
    (label,) = [line for line in stages(name)[stage] if line.startswith("LABEL")]
    said = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', label))
    assert said.keys() == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert said["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (said["revision"], said["base.name"]) == ("${REVISION}", "${PYTHON_IMAGE}")


@pytest.mark.parametrize(("name", "stage"), images())
def test_no_stage_copies_more_than_it_ships(name: str, stage: str) -> None:
    copies = [line for line in stages(name)[stage] if line.startswith("COPY")]
    assert copies
    assert "COPY . ." not in copies


def test_the_model_server_has_what_it_imports_and_no_more() -> None:
    """The image leaves out the package's own dependencies, which are the gateway's too."""
    (install,) = [line for line in lines("model-server") if "$runtime" in line]
    installed = set(re.findall(r"constraints\.txt (.*?) \$runtime", install)[0].replace('"', "").split())
    imports: set[str] = set()
    for path in (ROOT / "services/model_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imports |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imports.add(node.module.split(".")[0])
    theirs = imports - set(sys.stdlib_module_names) - {"model_server", "triton_python_backend_utils"}
    # grpc and google.protobuf come with tritonclient[grpc]; the runtime depends on the target.
    packages = {name.replace("_", "-") for name in theirs - {"grpc", "google", "onnxruntime", "tritonclient"}}
    assert installed == packages | {"tritonclient[grpc]"}


def test_what_the_gpu_variant_adds_is_pinned() -> None:
    pins = [line for line in (ROOT / "services/model_server/gpu.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pin in pins)
    assert "onnxruntime-gpu" in {pin.partition("==")[0] for pin in pins}


def test_the_demo_is_trained_from_the_training_half_alone() -> None:
    """Else a change of the gateway would train again."""
    copied = [line.split()[1] for line in stages("training")["trained"] if line.startswith("COPY")]
    assert copied == ["services/retort_cli", "training"]
    assert stages("training")["trained"][0] == "FROM packages AS trained"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_everything_installed_is_pinned(name: str) -> None:
    installs = re.findall(r"pip [^&]*install [^&]*", "\n".join(lines(name)))
    assert installs
    for install in installs:
        assert "-c constraints.txt" in install or "nvidia-pytriton==0.7.0" in install


def test_the_triton_wheel_is_the_one_that_make_installs() -> None:
    (pin,) = re.findall(r"nvidia-pytriton==[\d.]+", DOCKERFILES["model-server"].read_text())
    assert pin == WHEEL
    assert pin in (ROOT / "bootstrap.py").read_text()


def test_the_gateway_image_refuses_to_be_built_with_torch() -> None:
    (check,) = [line for line in lines("gateway") if "find_spec" in line]
    assert "'torch'" in check
    assert "assert not heavy" in check


def test_ports_health_checks_and_variables_are_the_services_own() -> None:
    gateway, server = load_gateway({}), load_model_server({})
    expose = {name: line for name in DOCKERFILES for line in lines(name) if line.startswith("EXPOSE")}
    triton = (server.triton_http_port, server.triton_grpc_port, server.triton_metrics_port, server.loader_port)
    doors = (gateway.http_port, gateway.grpc_port, gateway.admin_port, gateway.metrics_port)
    assert expose["gateway"] == "EXPOSE " + " ".join(map(str, doors))
    assert expose["model-server"] == "EXPOSE " + " ".join(map(str, triton))
    assert any(f":{gateway.http_port}/healthz" in line for line in lines("gateway") if line.startswith("HEALTHCHECK"))
    assert any(f":{server.loader_port}/healthz" in line for line in lines("model-server"))
    for name, settings in (("gateway", gateway), ("model-server", server)):
        variables = re.findall(r"RETORT_\w+", "\n".join(line for line in lines(name) if line.startswith("ENV")))
        assert variables
        assert {variable.removeprefix("RETORT_").lower() for variable in variables} <= set(type(settings).model_fields)


def test_training_writes_where_a_read_only_root_lets_it_and_finds_its_configuration() -> None:
    workdirs = [line for line in lines("training") if line.startswith("WORKDIR")]
    assert workdirs[-1] == "WORKDIR /tmp"  # `runs/` is relative; compose and the chart make /tmp writable
    configured = yaml.safe_load((CHART / "values.yaml").read_text())["training"]["config"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["train"]
    assert "COPY training/configs /opt/retort/configs" in lines("training")
    assert configured == compose["command"][1] == "/opt/retort/configs/demo.toml"
    assert (ROOT / "training/configs/demo.toml").is_file()


def test_one_version_names_package_chart_and_images() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert all(f":{version} ." in path.read_text() for path in DOCKERFILES.values())  # the command in the head
