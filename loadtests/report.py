"""The report of a run: a JSON file for programs and a Markdown table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.figures import Distribution, Figures
from loadtests.thresholds import Thresholds

ORDER = ("request", "text", "cache", "server", "client")
MEANING = {"text": "by kind of text", "cache": "by x-cache", "server": "Server-Timing", "client": "open loop"}


@dataclass(frozen=True)
class Report:
    """What was run, what it came to, and which thresholds it broke."""

    run: Mapping[str, object]
    figures: Figures
    thresholds: Thresholds
    broken: Sequence[str]

    def write(self, path: Path) -> None:
        """Write `path`.json and `path`.md; a suffix of `path` is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.as_markdown(), encoding="utf-8")

    def as_json(self) -> dict[str, object]:
        """Everything; shares are parts of 1, latencies milliseconds."""
        figures = self.figures
        derived = {
            "requests": figures.requests,
            "rps": figures.rps,
            "error_share": figures.error_share,
            "shed_share": figures.shed_share,
            "hit_rate": figures.hit_rate,
            "text_shares": {kind: figures.text_share(kind) for kind in figures.texts},
        }
        return {
            "passed": not self.broken,
            "broken": list(self.broken),
            "run": dict(self.run),
            "thresholds": asdict(self.thresholds),
            "figures": asdict(figures) | derived,
        }

    def as_markdown(self) -> str:
        """The same on one page."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        figures = self.figures
        yield f"# Load test of {self.run['url']}: {'failed' if self.broken else 'passed'}"
        yield ""
        yield from (f"- **{sentence}**" for sentence in self.broken)
        yield f"- {', '.join(f'{name} {value}' for name, value in self.run.items() if name != 'url')}"
        yield (
            f"- {figures.requests} requests in {figures.seconds:.1f} s, {figures.rps:.1f} answered a second; "
            f"{figures.failed} failed, {figures.unsent} due but never sent ({figures.error_share:.2%}), "
            f"{figures.shed} shed ({figures.shed_share:.2%})"
        )
        shares = ", ".join(f"{figures.text_share(kind):.1%} {kind}" for kind in figures.texts)
        yield f"- {sum(figures.texts.values())} texts as sent: {shares}"
        hits = "no cache: no answer had x-cache exact, semantic or miss"
        yield f"- {hits if figures.hit_rate is None else f'{figures.hit_rate:.2%} of the answers came from the cache'}"
        yield ""
        yield "| milliseconds | count | mean | p50 | p95 | p99 | max |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        for group in ORDER:
            for name, found in figures.parts.get(group, {}).items():
                yield _row(f"{MEANING.get(group, '')}: {name}" if group in MEANING else f"**{name}**", found)


def _row(name: str, found: Distribution) -> str:
    columns = (found.mean, found.p50, found.p95, found.p99, found.max)
    return f"| {name} | {found.count} | {' | '.join(f'{took_ms:.2f}' for took_ms in columns)} |"
