"""Health doors: readiness needs one verified version and nothing of Triton."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.gateway.conftest import started, until
from tests.gateway.fake_triton import FakeTriton
from tests.tiny_model import publish_tiny


async def test_ready_with_detail(repository: Path, fake_triton: FakeTriton) -> None:
    publish_tiny(repository)
    broken = publish_tiny(repository)
    (broken.path / "model.onnx").unlink()
    async with started(repository, fake_triton.url) as (_, client):

        async def reached() -> bool:
            return bool((await client.get("/readyz")).json()["upstreams"] == {fake_triton.url: "ready"})

        await until(reached)
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        model = answer.json()["models"]["tiny"]
        assert model["stable"] == 1
        assert {version: found["state"] for version, found in model["versions"].items()} == {
            "1": "stable",
            "2": "verified",
            "3": "rejected",
        }
        assert model["versions"]["3"]["reason"] == "model.onnx is missing"


@pytest.mark.parametrize(
    ("settings", "key", "detail"),
    [
        ({}, None, True),
        ({"api_keys_file": "keys"}, None, False),
        ({"api_keys_file": "keys"}, "wrong", False),
        ({"api_keys_file": "keys"}, "secret", True),
        ({"host": "0.0.0.0", "auth": "off"}, None, False),
    ],
)
async def test_detail_is_for_whoever_has_a_key(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    key: str | None,
    detail: bool,
) -> None:
    (publish_tiny(repository).path / "model.onnx").unlink()
    (tmp_path / "keys").write_text(f"{hashlib.sha256(b'secret').hexdigest()} alice\n")
    monkeypatch.chdir(tmp_path)
    async with started(repository, "127.0.0.1:1", **settings) as (_, client):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = await client.get("/readyz", headers=headers)
        assert answer.status_code == 200
        if not detail:
            assert answer.json() == {"ready": True, "draining": False, "models": {"tiny": {"ready": True}}}
            return
        assert answer.json()["models"]["tiny"]["versions"]["2"]["reason"] == "model.onnx is missing"
        assert "127.0.0.1:1" in answer.json()["upstreams"]


async def test_ready_without_triton(published: Path) -> None:
    async with started(published, "127.0.0.1:1") as (_, client):

        async def seen() -> bool:
            return "unreachable" in (await client.get("/readyz")).json()["upstreams"]["127.0.0.1:1"]

        await until(seen)
        assert (await client.get("/readyz")).status_code == 200


async def test_not_ready_without_a_verified_version(repository: Path, fake_triton: FakeTriton) -> None:
    (repository / "tiny/1/model.onnx").write_bytes(b"")
    async with started(repository, fake_triton.url) as (_, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "does not verify" in answer.json()["models"]["tiny"]["problem"]
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.post("/predict", json={"text": "good"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_unavailable")


async def test_not_ready_without_a_repository_until_it_comes(
    published: Path, tmp_path: Path, fake_triton: FakeTriton
) -> None:
    late = tmp_path / "late"
    async with started(late, fake_triton.url) as (_, client):
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "cannot list the model repository" in answer.json()["problem"]
        shutil.copytree(published, late)

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(ready)
        assert (await client.get("/readyz")).json()["problem"] is None


async def test_not_ready_while_draining_yet_answering(published: Path, fake_triton: FakeTriton) -> None:
    async with started(published, fake_triton.url) as (gateway, client):
        gateway.lifecycle.drain()
        for path in ("/readyz", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post("/predict", json={"text": "good"})).status_code == 200


async def test_a_head_is_answered_like_a_get(published: Path, fake_triton: FakeTriton) -> None:
    async with started(published, fake_triton.url) as (gateway, client):
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert (await client.head(path)).status_code == 200
            assert set((await client.get("/openapi.json")).json()["paths"][path]) == {"get"}
        gateway.lifecycle.drain()
        assert (await client.head("/readyz")).status_code == 503
