"""A run: what all customers of one process share, made before the first of them comes."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gevent.event import Event

from loadtests.access import Access
from loadtests.arrivals import Arrivals
from loadtests.corpus import Corpus, Lengths
from loadtests.door import only_model
from loadtests.labels import label
from loadtests.profile import Profile
from loadtests.reply import Reply
from loadtests.tally import Tally
from loadtests.workload import Kind, Shares, Workload

MOST_LABELS = 100_000
SPARE_LABELS = 500  # labels do not come as evenly as they are drawn

Text = tuple[Kind, str]


@dataclass
class Run:
    """`profile` is an open loop's, in requests a second; None: customers ask again once they are answered."""

    access: Access
    workload: Workload
    batch_sizes: Sequence[int]
    profile: Profile | None
    draw: random.Random
    tally: Tally = field(default_factory=Tally)
    arrivals: Arrivals | None = None
    opened: Event = field(default_factory=Event)

    @classmethod
    def prepare(cls, options: Any, url: str, part: int = 0, parts: int = 1) -> Run:
        """Read the corpus, find the model, label texts; process `part` of `parts` gets texts of its own.

        Raises ValueError for an option that cannot be, UnreachableError when the gateway does not answer.
        """
        shares = Shares(options.repeat_share, options.paraphrase_share)
        sizes = batch_sizes(options.batch_sizes)
        profile = None
        if options.rate is not None:
            profile = Profile.of(options.shape, options.rate / parts, options.seconds or math.inf, options.spike_factor)
        lengths = Lengths.parse(options.words) if options.words else None
        corpus = Corpus.read(Path(options.corpus), lengths)
        access = Access(
            url,
            options.api_key,
            options.model,
            options.api,
            Path(options.ca) if options.ca else None,
            options.timeout_s,
        )
        by_name = access.parts.scheme.startswith("grpc") or access.api == "oip" or max(sizes) > 1
        named = only_model(access) if (by_name or shares.paraphrase) and not access.model else access
        texts = islice(corpus.texts(random.Random(options.seed)), part, None, parts)  # noqa: S311  # no secret
        labels: Mapping[str, str] = {}
        if shares.paraphrase:
            most = MOST_LABELS
            if profile and math.isfinite(profile.seconds):  # an open loop's requests are known before
                most = min(most, SPARE_LABELS + math.ceil(profile.requests * shares.paraphrase * max(sizes)))
            labels = label(named, texts, most, options.label_s)
        draw = random.Random(f"{options.seed} {part}")  # noqa: S311
        return cls(named if by_name else access, Workload(labels, texts, shares, draw), sizes, profile, draw)

    def open(self) -> None:
        """Let an open loop begin: every customer is there."""
        if self.profile and not self.arrivals:
            self.arrivals = Arrivals(time.perf_counter(), self.profile)
        self.opened.set()

    def close(self) -> None:
        """Count what an open loop owes: requests that were due while no customer was free."""
        if self.arrivals:
            self.tally.counts["unsent"] += self.arrivals.missed(time.perf_counter())
        self.opened.set()

    def next(self) -> Sequence[Text]:
        """The texts of the next request."""
        return [self.workload.next() for _ in range(self.draw.choice(self.batch_sizes))]

    def note(self, texts: Sequence[Text], reply: Reply, took_ms: float) -> None:
        """Take the reply into the tally."""
        kinds = {kind for kind, _ in texts}
        for kind, text in texts:
            self.tally.counts[f"{kind} texts"] += 1
            if reply.outcome == "answered":
                self.workload.answered(text)
        self.tally.add("request", reply.outcome, took_ms)
        if reply.outcome == "answered":
            self.tally.add("text", kinds.pop() if len(kinds) == 1 else "mixed", took_ms)
            self.tally.add("cache", reply.cache or "not said", took_ms)
            for step, step_ms in reply.steps_ms.items():
                self.tally.add("server", step, step_ms)


def batch_sizes(written: str) -> Sequence[int]:
    """Read `1,1,1,8`."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", written):
        raise ValueError(f"--batch-sizes must be numbers such as 1,1,1,8, not {written!r}")
    return [int(size) for size in written.split(",")]
