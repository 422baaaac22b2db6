"""The corpus: texts to send, from a file whose lines may stand for many texts each.

One text a line; lines that begin with # are skipped. `[a|b]` is a choice, and `<name>` one of the values of the line
`<name> = a|b|c`, which may hold choices and names again. Lines without either are sent as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VALUES = re.compile(r"<(\w+)> = (.*)")
BETWEEN_VALUES = re.compile(r"\|(?![^\[]*\])")  # not within a choice
CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
SLOT = re.compile(r"<(\w+)>")
PATIENCE = 200  # texts in a row that were there before
DEPTH = 8  # of values within values; one that names itself ends here


@dataclass(frozen=True)
class Lengths:
    """How many words a text has, drawn evenly: texts are joined and cut to it."""

    fewest: int
    most: int

    @classmethod
    def parse(cls, written: str) -> Lengths:
        """Read `20` or `5-40`."""
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", written.strip())
        if not match or not 0 < int(match[1]) <= int(match[2] or match[1]):
            raise ValueError(f"--words must be a number or a range such as 5-40, not {written!r}")
        return cls(int(match[1]), int(match[2] or match[1]))


@dataclass(frozen=True)
class Corpus:
    """Lines, the values of their slots, and the lengths that texts shall have (None: as they come)."""

    lines: Sequence[str]
    values: Mapping[str, Sequence[str]]
    lengths: Lengths | None = None

    @classmethod
    def read(cls, path: Path, lengths: Lengths | None = None) -> Corpus:
        """Read a file; ValueError when it cannot be read or holds no text."""
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the corpus {path} cannot be read: {error}") from error
        lines, values = [], {}
        for line in filter(None, map(str.strip, content.splitlines())):
            if match := VALUES.fullmatch(line):
                values[match[1]] = BETWEEN_VALUES.split(match[2])
            elif not line.startswith("#"):
                lines.append(line)
        if not lines:
            raise ValueError(f"the corpus {path} holds no text: one a line is needed")
        return cls(lines, values, lengths)

    def texts(self, draw: random.Random) -> Iterator[str]:
        """Yield different texts in random order, each line once a pass, until no new one is found for long."""
        seen: set[str] = set()
        old = 0
        while old < max(PATIENCE, len(self.lines)):
            for line in draw.sample(self.lines, len(self.lines)):
                text = self._compose(line, draw)
                old += 1
                if text not in seen:
                    seen.add(text)
                    old = 0
                    yield text

    def _compose(self, line: str, draw: random.Random) -> str:
        text = self._fill(line, draw)
        if self.lengths is None:
            return text
        words, wanted = text.split(), draw.randint(self.lengths.fewest, self.lengths.most)
        while len(words) < wanted:
            words += self._fill(draw.choice(self.lines), draw).split()
        return " ".join(words[:wanted])

    def _fill(self, line: str, draw: random.Random) -> str:
        for _ in range(DEPTH):
            chosen = CHOICE.sub(lambda match: draw.choice(match[1].split("|")), line)
            filled = SLOT.sub(lambda match: draw.choice(self.values.get(match[1], [match[0]])), chosen)
            if filled == line:
                break
            line = filled
        return line
