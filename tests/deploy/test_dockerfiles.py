"""The Dockerfiles: pinned, in stages, without root, and the same ports and pins as the rest of the repository."""

import re
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


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_built_in_stages_from_a_pinned_base_and_run_without_root(name: str) -> None:
    instructions = lines(name)
    assert instructions[0] == "ARG PYTHON_IMAGE=python:3.11-slim-bookworm"
    assert [line.split()[1] for line in instructions if line.startswith("FROM")] == ["${PYTHON_IMAGE}"] * 2
    assert [line for line in instructions if line.startswith("USER")] == ["USER 10001:10001"]
    last = instructions[max(i for i, line in enumerate(instructions) if line.startswith("FROM")) :]
    assert not any("pip" in line for line in last)
    assert not DOCKERFILES[name].read_text().startswith("# syntax")  # it would pull a build frontend


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
    assert expose["gateway"] == f"EXPOSE {gateway.http_port} {gateway.grpc_port} {gateway.metrics_port}"
    assert expose["model-server"] == "EXPOSE " + " ".join(map(str, triton))
    assert any(f":{gateway.http_port}/healthz" in line for line in lines("gateway"))
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
