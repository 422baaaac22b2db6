"""The application as a whole: wiring."""

import hashlib
import logging
from pathlib import Path

import pytest

from tests.gateway.conftest import started, until
from tests.gateway.fake_triton import FakeTriton


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
