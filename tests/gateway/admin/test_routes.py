"""The admin API's doors: what they show, what they turn, and that no secret leaves."""

import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import started
from tests.gateway.fake_triton import FakeTriton
from tests.tiny_model import publish_tiny

DIGEST = hashlib.sha256(b"secret").hexdigest()


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """The level of before, afterwards."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The API's keys file."""
    file = tmp_path / "keys"
    file.write_text(f"{DIGEST} alice tenant=acme rate=5 burst=9 models=tiny may=route-version\n{'1' * 64} bob\n")
    return file


@pytest.fixture
async def admin(
    repository: Path, fake_triton: FakeTriton, keys: Path, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin key."""
    (tmp_path / "admin").write_text(f"{hashlib.sha256(b'adminkey').hexdigest()} root\n")
    settings = {
        "api_keys_file": str(keys),
        "admin_key_file": str(tmp_path / "admin"),
        "redis_url": "redis://:redispassword@127.0.0.1:1",
        "gateway_poll_s": "1000",
        "gateway_secrets_poll_s": "1000",
    }
    async with started(repository, fake_triton.url, **settings) as (gateway, _):
        assert gateway.admin is not None
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(gateway.admin, raise_app_exceptions=False),
            base_url="http://admin",
            headers={"authorization": "Bearer adminkey"},
        ) as client:
            yield client


@pytest.mark.parametrize("key", [None, "secret", "other"])
async def test_only_the_admin_key_opens(admin: httpx.AsyncClient, key: str | None) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    del admin.headers["authorization"]
    for method, path in (
        ("GET", "/admin/v1/status"),
        ("GET", "/admin/v1/keys"),
        ("POST", "/admin/v1/keys/reload"),
        ("POST", "/admin/v1/catalog/refresh"),
        ("PUT", "/admin/v1/log-level"),
        ("GET", "/elsewhere"),
    ):
        answer = await admin.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert (await admin.get("/openapi.json", headers=headers)).status_code == 404


async def test_status_shows_everything_but_secrets(admin: httpx.AsyncClient, fake_triton: FakeTriton) -> None:
    answer = await admin.get("/admin/v1/status")
    status = answer.json()
    assert (status["ready"], status["draining"], status["inflight"], status["problem"]) == (True, False, 0, None)
    assert status["models"]["tiny"]["stable"] == 1
    assert list(status["upstreams"]) == [fake_triton.url]
    assert status["redis"] in ("in use", "breaker open")
    assert status["config"]["RETORT_REDIS_URL"] == "redis://***@127.0.0.1:1"
    assert status["config"]["RETORT_HTTP_PORT"] == 8080
    for secret in ("redispassword", "adminkey", DIGEST):
        assert secret not in answer.text


async def test_keys_are_shown_without_digests(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/admin/v1/keys")
    alice = {"name": "alice", "tenant": "acme", "rate": 5, "burst": 9, "models": ["tiny"], "may": ["route-version"]}
    bob: dict[str, object] = {"name": "bob", "tenant": "bob", "rate": None, "burst": None, "models": None, "may": []}
    assert answer.json() == {"keys": [alice, bob]}
    assert DIGEST not in answer.text


async def test_keys_are_reloaded_unless_they_are_broken(admin: httpx.AsyncClient, keys: Path) -> None:
    keys.write_text("clear-text-key alice\n")  # noqa: ASYNC240  # a few bytes
    answer = await admin.post("/admin/v1/keys/reload")
    assert answer.status_code == 400
    assert "line 1: expected" in answer.text
    assert "clear-text-key" not in answer.text
    assert len((await admin.get("/admin/v1/keys")).json()["keys"]) == 2
    keys.write_text(f"{DIGEST} carol\n")  # noqa: ASYNC240
    assert [key["name"] for key in (await admin.post("/admin/v1/keys/reload")).json()["keys"]] == ["carol"]


async def test_the_repository_is_read_anew(admin: httpx.AsyncClient, repository: Path) -> None:
    publish_tiny(repository, swapped=True)
    assert list((await admin.get("/admin/v1/status")).json()["models"]["tiny"]["versions"]) == ["1"]
    refreshed = (await admin.post("/admin/v1/catalog/refresh")).json()
    assert set(refreshed["models"]["tiny"]["versions"]) == {"1", "2"}
    assert refreshed["problem"] is None


async def test_the_log_level_is_turned_and_who_did_it_is_logged(
    admin: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await admin.put("/admin/v1/log-level", json={"level": "error"})).json() == {"level": "error"}
    assert (await admin.get("/admin/v1/log-level")).json() == {"level": "error"}
    assert logging.getLogger().level == logging.ERROR
    assert "root sets the log level to error" in caplog.text
    json = {"content-type": "application/json"}
    for wrong, message in (
        (b'{"level": "loud"}', "body.level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (b"{}", "body.level: Field required"),
        (b'{"level": "info", "more": 1}', "body.more: Extra inputs are not permitted"),
        (b"{", "body.1: JSON decode error"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 4000, "the body is not JSON"),
    ):
        answer = await admin.put("/admin/v1/log-level", content=wrong, headers=json)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["message"]) == (400, "bad_request", message)
    large = await admin.put("/admin/v1/log-level", json={"level": "x" * 5000})
    assert large.status_code == 413
