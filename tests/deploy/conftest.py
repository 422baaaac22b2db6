"""One Helm engine for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.deploy.chart import VARIANTS, values
from tests.deploy.helm import Helm, Revision, running


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    """The real engine, with clusters in memory."""
    with running() as engine:
        yield engine


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, helm: Helm) -> Revision:
    """Each variant of the values in turn."""
    return helm.render(values(request.param))
