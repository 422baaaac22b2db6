"""`helm test`'s script against a real gateway: what passes, and what it says when something is wrong."""

import asyncio
import hashlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.deploy.chart import at, container, environment, values
from tests.deploy.helm import CHART, Helm
from tests.gateway import processes
from tests.gateway.certificates import make_certificate
from tests.gateway.fake_triton import FakeTriton
from tests.ports import free_ports
from tests.tiny_model import publish_tiny

KEY = "k" * 40


@pytest.fixture
async def triton() -> AsyncIterator[FakeTriton]:
    """A Triton that computes the tiny model."""
    fake = FakeTriton()
    await fake.start()
    yield fake
    await fake.stop()


async def run(**variables: str) -> tuple[int, str]:
    """Run the script; return its exit status and what it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    script = (CHART / "files" / "predict.py").read_text()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), env={**inherited, **variables}, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode()


@pytest.fixture
def settings(tmp_path: Path, triton: FakeTriton) -> dict[str, str]:
    """Settings of a gateway that asks for a key."""
    publish_tiny(tmp_path / "repository")
    (tmp_path / "keys").write_text(f"{hashlib.sha256(KEY.encode()).hexdigest()} default\n")
    http, grpc, metrics = free_ports(3)
    return {
        "model_repository": str(tmp_path / "repository"),
        "api_keys_file": str(tmp_path / "keys"),
        "triton_urls": triton.url,
        "http_port": str(http),
        "grpc_port": str(grpc),
        "metrics_port": str(metrics),
        "gateway_drain_s": "0",
    }


async def ready(ask: Callable[[], int]) -> None:
    """Wait for /readyz without keeping the loop, and so Triton, from its work."""
    await asyncio.to_thread(processes.wait_until, lambda: ask() == 200, 20)


async def test_a_prediction_through_each_door(tmp_path: Path, settings: dict[str, str], triton: FakeTriton) -> None:
    url, grpc = f"http://127.0.0.1:{settings['http_port']}", f"127.0.0.1:{settings['grpc_port']}"
    with processes.process("gateway", processes.environment(**settings), tmp_path / "log"):
        await ready(lambda: processes.status(f"{url}/readyz"))
        code, said = await run(HTTP=url, GRPC=grpc, API_KEY=KEY)
        assert code == 0, said
        assert len(triton.requests) == 2
        code, said = await run(HTTP=url, GRPC=grpc, API_KEY="wrong")
        assert code == 1
        assert "HTTP: 401" in said
        code, said = await run(HTTP=url, GRPC=grpc, API_KEY=KEY, MODEL="another")
        assert code == 1
        assert "another" in said


async def test_with_a_certificate_for_another_name(tmp_path: Path, settings: dict[str, str]) -> None:
    certificate, key = make_certificate(tmp_path / "tls", "tickets.example.com")
    foreign, _ = make_certificate(tmp_path / "foreign", "tickets.example.com")
    settings |= {"tls_cert_file": str(certificate), "tls_key_file": str(key)}
    url, grpc = f"https://127.0.0.1:{settings['http_port']}", f"127.0.0.1:{settings['grpc_port']}"
    context = ssl.create_default_context(cafile=certificate)

    def ask() -> int:
        try:
            return httpx.get(f"{url}/readyz", verify=context).status_code
        except httpx.TransportError:
            return 0

    with processes.process("gateway", processes.environment(**settings), tmp_path / "log"):
        await ready(ask)
        code, said = await run(HTTP=url, GRPC=grpc, API_KEY=KEY, CERTIFICATE=str(certificate))
        assert code == 0, said
        code, said = await run(HTTP=url, GRPC=grpc, API_KEY=KEY, CERTIFICATE=str(foreign))
        assert code == 1
        assert "CERTIFICATE_VERIFY_FAILED" in said


def test_the_hook_runs_that_script_against_this_gateway(helm: Helm) -> None:
    revision = helm.render(values("existing"))
    pod, found = container(revision, "test")
    assert found["command"][:2] == ["python", "-c"]
    assert found["command"][2].strip() == (CHART / "files" / "predict.py").read_text().strip()
    assert environment(found) == {
        "HTTP": "https://rel-retort-gateway:8080",
        "GRPC": "rel-retort-gateway:8081",
        "CERTIFICATE": "/run/retort/tls.crt",
    }
    (volume,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert volume == {"secretName": "tickets-tls", "items": [{"key": "tls.crt", "path": "tls.crt"}]}
    assert revision.find("Pod", "rel-retort-test")["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_the_hook_stays_a_hook_beside_the_platforms_annotations(helm: Helm) -> None:
    pod = helm.play(("install", at("podAnnotations", {"a": "b"}))).revisions[0].find("Pod", "rel-retort-test")
    assert pod["metadata"]["annotations"] == {
        "a": "b",
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
