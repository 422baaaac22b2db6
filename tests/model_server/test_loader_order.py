"""The order of the loader's calls, on a control that only remembers them: what races hide with a real Triton."""

import json
from pathlib import Path

import pytest

from model_server.control import Control
from model_server.errors import LoadError
from model_server.loader import Loader
from model_server.metrics import Metrics
from model_server.triton_config import Share
from tests.tiny_model import publish_tiny


class Remembering(Control):
    """A control without a Triton: remembers what was loaded, refuses what holds a version of `broken`."""

    def __init__(self, broken: frozenset[int] = frozenset()) -> None:
        self.broken = broken
        self.loads: list[list[int]] = []
        self.held: list[int] = []

    async def is_live(self) -> bool:
        return True

    async def is_ready(self, model: str, version: int) -> bool:  # noqa: ARG002
        return version in self.held

    async def load(self, model: str, config: str) -> None:  # noqa: ARG002
        versions = [int(version) for version in json.loads(config)["version_policy"]["specific"]["versions"]]
        self.loads.append(versions)
        if self.broken & set(versions):
            self.held = []  # the worst that a Triton could do
            raise LoadError("broken")
        self.held = versions


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    for _ in range(2):
        publish_tiny(tmp_path)
    return Loader(tmp_path, "cpu", Share(1, 1), 30.0, Metrics())


async def test_the_stable_version_answers_before_a_candidate_is_tried(loader: Loader) -> None:
    control = Remembering()
    await loader.step(control)
    assert control.loads == [[1], [1, 2]]
    await loader.step(control)
    assert control.loads == [[1], [1, 2]], "nothing changed, so nothing is loaded"


async def test_the_stable_version_comes_back_when_a_candidate_fails(loader: Loader) -> None:
    control = Remembering(broken=frozenset({2}))
    await loader.step(control)
    assert control.loads == [[1], [1, 2], [1]]
    await loader.step(control)
    assert len(control.loads) == 3, "the candidate waits for its next try"
    assert loader.is_ready
