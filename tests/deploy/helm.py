"""What tests ask of the Helm engine: render this, refuse that, play an install and its upgrades."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.deploy.cluster import Json

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "retort"
NEWEST = "1.37"


@dataclass(frozen=True)
class Revision:
    """The objects of one install or upgrade, and the notes that Helm printed."""

    documents: list[Json]
    notes: str

    def find(self, kind: str, name: str) -> Json:
        """Return the object called `name` of that kind."""
        return next(d for d in self.documents if d["kind"] == kind and d["metadata"]["name"] == name)

    def find_part(self, kind: str, component: str) -> Json:
        """Return the only object of that kind with the label of that part."""
        label = "app.kubernetes.io/component"
        (found,) = [d for d in self.documents if d["kind"] == kind and d["metadata"]["labels"][label] == component]
        return found


@dataclass(frozen=True)
class Story:
    """What came of a release: its revisions, what is left in the cluster, and why Helm refused, if it did."""

    revisions: list[Revision]
    left: list[Json]
    refused: str | None


class Helm:
    """A running engine."""

    def __init__(self, to: IO[str], answers: IO[str]) -> None:
        self._to, self._answers = to, answers
        self.render = functools.cache(self._render)

    def play(self, *steps: tuple[str, Mapping[str, Any]], version: str = NEWEST, present: Sequence[Json] = ()) -> Story:
        """Play `steps` as release `rel` in namespace `shop` of a new cluster that holds `present`."""
        story: dict[str, Any] = {"chart": str(CHART), "version": version, "release": "rel", "namespace": "shop"}
        story |= {"present": present, "steps": steps}
        self._to.write(json.dumps(story) + "\n")
        self._to.flush()
        said = json.loads(self._answers.readline())
        revisions = [Revision(revision["documents"], revision["notes"]) for revision in said["done"]]
        return Story(revisions, said["left"], said["refused"])

    def _render(self, values: str = "{}", version: str = NEWEST) -> Revision:
        """Return the first revision with `values` (JSON); each combination is rendered once."""
        story = self.play(("install", json.loads(values)), version=version)
        if story.refused is not None:
            raise AssertionError(story.refused)
        return story.revisions[0]


@contextmanager
def running() -> Iterator[Helm]:
    """Start the engine; its process ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.deploy.engine"],
        cwd=ROOT,
        env={**os.environ, "HELM_DRIVER": "memory"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for")
        yield Helm(process.stdin, process.stdout)
