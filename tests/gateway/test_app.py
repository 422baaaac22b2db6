"""The application as a whole: wiring."""

import hashlib
import logging
from pathlib import Path

import pytest

from gateway.app import build
from gateway.errors import SettingsError
from gateway.settings import load
from tests.gateway.conftest import started, until
from tests.gateway.fake_triton import FakeTriton


def test_an_open_bind_without_keys_is_refused(published: Path) -> None:
    environment = {"RETORT_MODEL_REPOSITORY": str(published), "RETORT_HOST": "0.0.0.0"}
    with pytest.raises(SettingsError, match="RETORT_AUTH=off"):
        build(load(environment))
    build(load(environment | {"RETORT_AUTH": "off"}))


def test_an_admin_key_that_opens_the_api_too_is_refused(published: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{'0' * 64} alice\n")
    (tmp_path / "admin").write_text(f"{'0' * 64} root\n")
    environment = {"RETORT_MODEL_REPOSITORY": str(published), "RETORT_ADMIN_KEY_FILE": str(tmp_path / "admin")}
    assert build(load(environment)).admin is not None
    with pytest.raises(SettingsError, match="administrators need their own"):
        build(load(environment | {"RETORT_API_KEYS_FILE": str(tmp_path / "keys")}))


async def test_without_an_admin_key_there_is_no_admin_api(
    published: Path, fake_triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with started(published, fake_triton.url) as (gateway, _):
            assert gateway.admin is None
    assert caplog.text.count("the admin API is off: RETORT_ADMIN_KEY_FILE is not set") == 1


async def test_keys_and_rates_follow_the_settings(published: Path, fake_triton: FakeTriton, tmp_path: Path) -> None:
    """What the application wires: the watch of the keys file, and the address of Redis."""
    keys = tmp_path / "keys"
    keys.write_text(f"{hashlib.sha256(b'old').hexdigest()} alice\n")
    settings = {"api_keys_file": str(keys), "gateway_secrets_poll_s": "0.02", "redis_url": "redis://127.0.0.1:1"}
    async with started(published, fake_triton.url, **settings) as (_, client):
        client.headers["authorization"] = "Bearer new"
        assert (await client.post("/predict", json={"text": "good"})).status_code == 401
        keys.write_text(f"{hashlib.sha256(b'new').hexdigest()} alice rate=0.01 burst=2\n")

        async def is_open() -> bool:
            return (await client.get("/v2")).status_code == 200

        await until(is_open)  # one of two
        answers = [(await client.post("/predict", json={"text": "good"})).status_code for _ in range(2)]
        assert answers == [200, 429]  # counted here, without a Redis
