"""The workload: which text is sent next, in stated shares of repeats, paraphrases and fresh texts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["repeat", "paraphrase", "fresh"]
RECENT = 200


@dataclass(frozen=True)
class Shares:
    """What part of the texts is of each kind; the rest is fresh."""

    repeat: float
    paraphrase: float

    def __post_init__(self) -> None:
        if min(self.repeat, self.paraphrase) < 0 or self.repeat + self.paraphrase > 1:
            raise ValueError("the repeat and paraphrase shares must not be negative nor add up to more than 1")


class Workload:
    """Draws texts; a text that cannot be of the asked kind is counted as the kind that it really is."""

    def __init__(self, labels: Mapping[str, str], shares: Shares, draw: random.Random) -> None:
        if not labels:
            raise ValueError("the corpus is empty: give at least one text")
        self._labels = labels
        self._shares = shares
        self._draw = draw
        self._unsent = dict.fromkeys(draw.sample(sorted(labels), len(labels)))
        self._recent: list[str] = []
        self.sent: Counter[Kind] = Counter()

    def next(self) -> tuple[Kind, str]:
        """The next text and the kind that it is."""
        kind, text = self._choose()
        self._unsent.pop(text, None)
        self._recent = [text, *(seen for seen in self._recent if seen != text)][:RECENT]
        self.sent[kind] += 1
        return kind, text

    def _choose(self) -> tuple[Kind, str]:
        dice = self._draw.random()
        if self._recent and dice < self._shares.repeat:
            return "repeat", self._zipf(self._recent)
        if self._recent and dice < self._shares.repeat + self._shares.paraphrase:
            label = self._labels[self._zipf(self._recent)]
            # Only a text not sent before can show the semantic cache: one sent before is an exact repeat.
            others = [text for text in self._unsent if self._labels[text] == label]
            if others:
                return "paraphrase", self._draw.choice(others)
        if self._unsent:
            return "fresh", next(iter(self._unsent))
        return "repeat", self._zipf(self._recent)

    def _zipf(self, texts: Sequence[str]) -> str:
        weights = [1 / rank for rank in range(1, len(texts) + 1)]
        return self._draw.choices(texts, weights)[0]
