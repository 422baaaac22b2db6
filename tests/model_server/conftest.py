"""One model server on one tiny model for the tests that only ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model_server_process import ModelServer, model_server
from tests.tiny_model import publish_tiny


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("model_server")
    publish_tiny(folder / "repo")
    with model_server(folder / "repo", folder / "log") as server:
        server.wait("tiny", ready=True)
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repo"
