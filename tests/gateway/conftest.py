"""Fixtures: a tiny published model, a fake Triton, and a gateway application in front of them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway, build
from gateway.settings import load
from tests.gateway.fake_triton import FakeTriton, threaded_triton
from tests.model_server_process import ModelServer, model_server
from tests.tiny_model import publish_tiny

Started = tuple[Gateway, httpx.AsyncClient]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the model `tiny`, version 1. Tests must not change it."""
    repository = tmp_path_factory.mktemp("repository")
    publish_tiny(repository)
    return repository


@pytest.fixture(scope="session")
def live_triton(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A real model server that serves `tiny`. Tests must not stop it."""
    with model_server(published, tmp_path_factory.mktemp("triton") / "triton.log") as server:
        server.wait("tiny", ready=True)
        yield server


@pytest.fixture
def repository(published: Path, tmp_path: Path) -> Path:
    """A copy of the repository that a test may change."""
    return Path(shutil.copytree(published, tmp_path / "repository"))


@pytest.fixture
async def fake_triton() -> AsyncIterator[FakeTriton]:
    """A fake Triton that listens."""
    triton = FakeTriton()
    await triton.start()
    yield triton
    await triton.stop()


@pytest.fixture(name="threaded_triton")
def _threaded_triton() -> Iterator[FakeTriton]:
    """A fake Triton on a loop of its own, for tests that block theirs."""
    with threaded_triton() as triton:
        yield triton


@asynccontextmanager
async def started(repository: Path | str, triton_url: str, **settings: str) -> AsyncIterator[Started]:
    """A gateway application within its lifespan, and a client to it; `settings` without their prefix."""
    environment = {
        "RETORT_MODEL_REPOSITORY": str(repository),
        "RETORT_TRITON_URLS": triton_url,
        "RETORT_GATEWAY_POLL_S": "0.05",
        "RETORT_GATEWAY_PROBE_S": "0.05",
    }
    environment |= {f"RETORT_{name.upper()}": value for name, value in settings.items()}
    gateway = build(load(environment))
    transport = httpx.ASGITransport(gateway.app, raise_app_exceptions=False)
    async with (
        gateway.app.router.lifespan_context(gateway.app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        yield gateway, client


@pytest.fixture
async def client(published: Path, fake_triton: FakeTriton) -> AsyncIterator[httpx.AsyncClient]:
    """A client to a gateway over the tiny model and the fake Triton."""
    async with started(published, fake_triton.url) as (_, client):
        yield client


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # a state of another process, not an event
            await asyncio.sleep(0.01)
