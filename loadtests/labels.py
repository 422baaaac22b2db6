"""Labels: what the served model says about texts, asked before a run and past the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice

from gevent.pool import Pool

from loadtests.access import Access, UnreachableError
from loadtests.door import open_door

TEXTS_A_CALL = 32
CALLERS = 4


def label(access: Access, texts: Iterator[str], most: int, seconds: float) -> Mapping[str, str]:
    """Return the labels of the next texts, at most so many and in so much time; raises UnreachableError.

    Past the cache, because a text that the run sends for the first time must not be in it.
    """
    labels: dict[str, str] = {}
    chosen, end_s = islice(texts, most), time.monotonic() + seconds
    # A greenlet that raises writes a traceback: callers return what is wrong, "" for nothing.
    problems = Pool(CALLERS).map(lambda _: _label(access, chosen, labels, end_s), range(CALLERS))
    if problem := next(filter(None, problems), ""):
        raise UnreachableError(f"{problem}; --paraphrase-share 0 needs no labels")
    return labels


def _label(access: Access, texts: Iterator[str], labels: dict[str, str], end_s: float) -> str:
    door = open_door(access)
    try:
        while time.monotonic() < end_s and (some := list(islice(texts, TEXTS_A_CALL))):
            reply = door.ask(some, bypass_cache=True)
            if reply.outcome != "answered":
                return f"the corpus could not be labelled, which paraphrases need: {reply.problem}"
            if not all(reply.labels):
                return "the model gives no labels, so nothing is a paraphrase"
            labels.update(zip(some, reply.labels, strict=True))
    finally:
        door.close()
    return ""
