"""docker-compose.yml: what is published, pinned and mounted, and the key that it generates."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from gateway.caller import CACHE_BYPASS
from gateway.security.auth import ApiKeys
from gateway.settings import Settings as GatewaySettings
from gateway.settings import load
from model_server.settings import Settings as ModelServerSettings
from model_server.settings import load as load_model_server
from tests.deploy.helm import CHART, ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("gateway", "model-server", "redis", "prometheus", "grafana")
ONE_SHOT = ("keys", "bootstrap", "train", "load")


def mounts(service: str) -> dict[str, tuple[str, bool]]:
    """Return {target: (source, read-only)}; a source that is a variable comes as its default."""
    found = {}
    for volume in SERVICES[service].get("volumes", []):
        *source, target = volume.removesuffix(":ro").rsplit(":", 1)
        found[target] = (re.sub(r"\$\{\w+:-(.*)\}", r"\1", source[0]), volume.endswith(":ro"))
    return found


def test_docker_compose_accepts_the_file() -> None:
    version = ["docker", "compose", "version"]
    if not shutil.which("docker") or subprocess.run(version, capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed here: the file was only checked as YAML")
    arguments = ["--profile", "train", "--profile", "load", "config", "--quiet"]
    checked = subprocess.run(
        ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert not checked.stderr


def test_every_service_is_known_here() -> None:
    assert set(SERVICES) == {*SERVERS, *ONE_SHOT}


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_pinned_locked_down_and_published_on_loopback_only(name: str) -> None:
    service = SERVICES[name]
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert tag != "latest"
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "privileged" not in service
    assert service["restart"] == ("unless-stopped" if name in SERVERS else "no")


@pytest.mark.parametrize("name", SERVERS)
def test_servers_are_watched(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"]
    assert {"interval", "timeout", "retries"} <= check.keys()


def test_what_is_built_here_carries_the_version_and_exists() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    built = {name: service for name, service in SERVICES.items() if "build" in service}
    assert set(built) == {"bootstrap", "gateway", "model-server", "train", "load"}
    for service in built.values():
        assert service["image"].endswith(f":{version}")
        assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_only_training_and_the_bootstrap_may_write_the_repository() -> None:
    writers = ("bootstrap", "train")
    for name in ("gateway", "model-server", *writers):
        assert mounts(name)["/model-repo"] == ("model-repo", name not in writers)
    assert SERVICES["train"]["command"][-1] == "/model-repo"


def test_the_demo_model_is_there_before_anything_serves_it() -> None:
    assert SERVICES["bootstrap"]["build"]["target"] == "demo"
    assert SERVICES["train"]["build"]["target"] == "training"
    for name in ("gateway", "model-server"):
        assert SERVICES[name]["depends_on"]["bootstrap"] == {"condition": "service_completed_successfully"}


def test_triton_and_redis_are_reached_by_the_gateway_and_prometheus_alone_and_reach_nobody() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    inside = {name for name, service in SERVICES.items() if "inside" in service.get("networks", ["default"])}
    assert inside == {"gateway", "model-server", "redis", "prometheus"}
    assert SERVICES["model-server"]["networks"] == SERVICES["redis"]["networks"] == ["inside"]


def test_mounted_files_exist() -> None:
    sources = [source for name in SERVICES for source, _ in mounts(name).values()]
    assert all((ROOT / source).exists() for source in sources if source.startswith("./"))
    assert {source for source in sources if not source.startswith("./")} == set(COMPOSE["volumes"])


def test_the_gateway_starts_with_its_settings_and_finds_triton() -> None:
    gateway = SERVICES["gateway"]
    given = {name: value for name, value in gateway["environment"].items() if value is not None}
    settings = load({name: re.sub(r"\$\{\w+-(.*)\}", r"\1", value) for name, value in given.items()})
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.upstreams == ["model-server:8001"]
    assert settings.auth == "on"
    assert settings.host == "0.0.0.0"
    doors = (settings.http_port, settings.grpc_port, settings.admin_port)
    assert gateway["ports"] == [f"127.0.0.1:{port}:{port}" for port in doors]
    assert f":{settings.http_port}/readyz" in gateway["healthcheck"]["test"][-1]
    assert gateway["depends_on"]["keys"] == {"condition": "service_completed_successfully"}
    folder, file = os.path.split(str(settings.api_keys_file))
    assert mounts("gateway")[folder] == ("keys", True)
    assert (file, str(settings.admin_key_file)) == ("api-keys", f"{folder}/admin-keys")
    handed = {name for name, value in gateway["environment"].items() if value is None}
    assert {"RETORT_TLS_CERT_FILE", "RETORT_TLS_KEY_FILE", "RETORT_OTLP_ENDPOINT", "RETORT_WORKERS"} <= handed


@pytest.mark.parametrize("tls", [False, True])
def test_the_gateways_health_check_asks_the_door_that_is_open(tmp_path: Path, *, tls: bool) -> None:
    check, *_ = SERVICES["gateway"]["healthcheck"]["test"][3:]
    asked = check.replace("urlopen(", "print(")  # as it would be asked, without a gateway
    environment = {"RETORT_TLS_CERT_FILE": str(tmp_path)} if tls else {"RETORT_TLS_CERT_FILE": ""}
    out = subprocess.run(
        [sys.executable, "-c", asked.replace(", timeout=2, context=context", "")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out == f"http{'s' * tls}://127.0.0.1:8080/readyz\n"


def test_the_model_server_listens_where_gateway_and_prometheus_look() -> None:
    server = SERVICES["model-server"]
    settings = load_model_server(server["environment"])
    assert settings.triton_host == "0.0.0.0"
    assert settings.triton_grpc_port == 8001
    assert f":{settings.loader_port}/readyz" in server["healthcheck"]["test"][-1]
    assert "ports" not in server  # whoever reaches Triton can crash it: only the gateway does


def test_everything_set_is_a_setting_of_its_part() -> None:
    own: dict[str, type[BaseModel]] = {"gateway": GatewaySettings, "model-server": ModelServerSettings}
    for name, service in SERVICES.items():
        set_here = {variable for variable in service.get("environment", {}) if variable.startswith("RETORT_")}
        fields = own[name].model_fields if name in own else ()
        assert set_here <= {f"RETORT_{field.upper()}" for field in fields}


def run_keys(folder: Path, *arguments: str) -> str:
    """Run the script of the service `keys` on `folder` instead of its volume."""
    *_, script, name = SERVICES["keys"]["entrypoint"]
    script = script.replace("$$", "$").replace("cd /keys", f"cd {folder}")
    return subprocess.run(["sh", "-euc", script, name, *arguments], capture_output=True, text=True, check=True).stdout


def test_keys_are_made_once_shown_on_demand_and_open_the_gateway(tmp_path: Path) -> None:
    first = run_keys(tmp_path)
    for name, who in (("api", "default"), ("admin", "admin")):
        key = run_keys(tmp_path, "show", name).strip()
        assert len(key) == 64  # 256 random bits
        assert key not in first
        assert run_keys(tmp_path, "show", name).strip() == key
        caller = ApiKeys.read(tmp_path / f"{name}-keys").caller(f"Bearer {key}".encode())
        assert (caller.name, caller.permissions) == (who, frozenset({CACHE_BYPASS} if name == "api" else ()))
    assert run_keys(tmp_path, "show") == run_keys(tmp_path, "show", "api")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    # The gateway's user reads the hashes, not the keys.
    assert modes == {"api-key": 0o600, "admin-key": 0o600, "api-keys": 0o444, "admin-keys": 0o444}


def test_redis_evicts_only_what_may_go_and_writes_ahead() -> None:
    program, *options = SERVICES["redis"]["command"]
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert program == "redis-server"
    assert given["--maxmemory-policy"] == "volatile-lru"
    assert given["--appendonly"] == "yes"


def test_load_shows_the_key_and_lets_the_last_option_win(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("the-key")
    (tmp_path / "locust").write_text('#!/bin/sh\necho "$RETORT_API_KEY" "$@"\n')
    (tmp_path / "locust").chmod(0o755)
    *_, script, name = SERVICES["load"]["entrypoint"]
    script = script.replace("$$", "$").replace("/keys/", f"{tmp_path}/")
    printed = subprocess.run(
        ["sh", "-euc", script, name, "--host", "grpc://gateway:8081", "-t", "5s"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert printed[0] == "the-key"
    assert "--headless" in printed
    assert printed[-4:] == ["--host", "grpc://gateway:8081", "-t", "5s"]
    gateway = load({})
    assert f"http://gateway:{gateway.http_port}" in printed
