"""The workload: which text is sent next, in stated shares of repeats, paraphrases and fresh texts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeVar

Kind = Literal["repeat", "paraphrase", "fresh"]
RECENT = 200
ZIPF = list(accumulate(1 / rank for rank in range(1, RECENT + 1)))
T = TypeVar("T")


@dataclass(frozen=True)
class Shares:
    """What part of the texts is of each kind; the rest is fresh."""

    repeat: float
    paraphrase: float

    def __post_init__(self) -> None:
        if min(self.repeat, self.paraphrase) < 0 or self.repeat + self.paraphrase > 1:
            raise ValueError("the repeat and paraphrase shares must not be negative nor add up to more than 1")


class Workload:
    """Draws texts; a text that cannot be of the asked kind is named as the kind that it really is.

    `labels` are texts that were never sent, as the served model labels them; `fresh` are other texts.
    A repeat is of a text whose answer has come, and a paraphrase has the label of such a text: what is still under way
    is in no cache.
    """

    def __init__(self, labels: Mapping[str, str], fresh: Iterator[str], shares: Shares, draw: random.Random) -> None:
        self.labels, self._fresh, self._shares, self._draw = labels, fresh, shares, draw
        self._spares: dict[str, list[str]] = {}
        for text in draw.sample(sorted(labels), len(labels)):
            self._spares.setdefault(labels[text], []).append(text)
        self._sent: list[str] = []  # the last ones, under way or answered; latest first, as below
        self._answered: list[str] = []
        self._answered_labels: set[str] = set()

    def next(self) -> tuple[Kind, str]:
        """The next text and the kind that it is."""
        kind, text = self._choose()
        self._sent = [text, *self._sent[: RECENT - 1]]
        return kind, text

    def answered(self, text: str) -> None:
        """Note that the answer to `text` has come: it may now be repeated and paraphrased."""
        self._answered = [text, *(seen for seen in self._answered if seen != text)][:RECENT]
        if text in self.labels:
            self._answered_labels.add(self.labels[text])

    def _choose(self) -> tuple[Kind, str]:
        dice = self._draw.random()
        if self._answered and dice < self._shares.repeat:
            return "repeat", self._zipf(self._answered)
        paraphrase = self._shares.repeat <= dice < self._shares.repeat + self._shares.paraphrase
        if paraphrase and (text := self._spare(answered=True)):
            return "paraphrase", text
        # The first ones have labels, so that there is something to paraphrase.
        first = self._spare(answered=False) if self._shares.paraphrase else None
        if text := first or next(self._fresh, None) or self._spare(answered=True) or self._spare(answered=False):
            return "fresh", text
        if not self._sent:
            raise ValueError("there is no text to send: the corpus is empty")
        return "repeat", self._zipf(self._answered or self._sent)

    def _spare(self, *, answered: bool) -> str | None:
        """A text that was never sent, of a label that a text that was answered had, or of one that none had."""
        labels = [
            label for label, texts in self._spares.items() if texts and (label in self._answered_labels) == answered
        ]
        return self._spares[self._draw.choice(labels)].pop() if labels else None

    def _zipf(self, items: Sequence[T]) -> T:
        """One of at most RECENT items, the first ones most often."""
        return self._draw.choices(items, cum_weights=ZIPF[: len(items)])[0]
