"""Overrides: made once, kept while they are asked for, never more than a few."""

import asyncio
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import VersionRejectedError
from gateway.serving.overrides import COHORT, MAX_TARGETS, Overrides


@dataclass
class Made:
    """Stands in for a target, which needs a whole version."""

    digest: str
    cohort: str


class Maker:
    """Makes targets and remembers which, and on which threads."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, stored: Any, *, cohort: str) -> Any:
        if stored.manifest.digest == "broken":
            raise VersionRejectedError("no tokenizer")
        self.made.append(stored.manifest.digest)
        self.threads.add(threading.get_ident())
        return Made(stored.manifest.digest, cohort)


def stored(digest: str) -> Any:
    """As much of a stored version as its identity."""
    return SimpleNamespace(manifest=SimpleNamespace(digest=digest))


async def test_a_version_is_made_once_and_off_the_loop() -> None:
    maker = Maker()
    overrides = Overrides(maker)
    found = await asyncio.gather(*(overrides.target(stored("a")) for _ in range(5)))
    assert maker.made == ["a"]
    assert found == [Made("a", COHORT)] * 5  # type: ignore[comparison-overlap]
    assert threading.get_ident() not in maker.threads


async def test_the_longest_unasked_leaves_first() -> None:
    maker = Maker()
    overrides = Overrides(maker)
    for digest in [*"abcd", "a", "e"]:
        await overrides.target(stored(digest))
    assert MAX_TARGETS == 4
    await overrides.target(stored("a"))
    assert maker.made == list("abcde")
    await overrides.target(stored("b"))
    assert maker.made == list("abcdeb")


async def test_one_that_does_not_load_is_tried_again() -> None:
    overrides = Overrides(Maker())
    for _ in range(2):
        with pytest.raises(VersionRejectedError):
            await overrides.target(stored("broken"))
