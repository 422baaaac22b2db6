"""One Helm engine for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.deploy.helm import Helm, running


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    """The real engine, with clusters in memory."""
    with running() as engine:
        yield engine
