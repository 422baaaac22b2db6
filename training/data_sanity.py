"""Data sanity: what the texts and labels are like, before anything is trained on them. Pure."""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from training.config import Preflight
from training.data import Dataset, Split
from training.finding import Finding, Level, limit

CUTS = (16, 32, 64, 128, 256, 512)
FEW_TEXTS = 10  # of a label, in training
UNEVEN = 10.0  # times the rarest label
MUCH_UNKNOWN = 0.05
WORD = re.compile(r"\w+")
# UTF-8 that was read as Latin-1 or Windows-1252 and written again, or U+FFFD where bytes were lost.
MOJIBAKE = re.compile("\ufffd|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac|\u00ef\u00bb\u00bf")


@dataclass(frozen=True)
class Profile:
    """What was counted. Texts are compared by their words alone, whatever case and punctuation.

    `leaked`: texts of validation and test that stand in training; `conflicting`: training texts with several labels;
    `truncated`: share of all texts longer than so many tokens; `broken`: texts that a wrong decoding damaged.
    """

    counts: Mapping[str, Counter[str]]
    duplicates: int
    conflicting: tuple[str, ...]
    leaked: Mapping[str, tuple[str, ...]]
    lengths: tuple[int, ...]
    truncated: Mapping[int, float]
    broken: tuple[str, ...]
    unknown: float
    longest: str


def profile(dataset: Dataset, tokenizer: Tokenizer, unknown_id: int | None, max_length: int) -> Profile:
    """Count everything that the findings look at."""
    seen: dict[str, set[int]] = {}
    for text, label in zip(dataset.train.texts, dataset.train.labels, strict=True):
        seen.setdefault(_words(text), set()).add(label)
    texts = [text for part in dataset.splits for text in part.texts]
    tokens = [found.ids for found in tokenizer.encode_batch(texts)]
    lengths = tuple(map(len, tokens))
    unknown = sum(ids.count(unknown_id) for ids in tokens) if unknown_id is not None else 0
    return Profile(
        counts={part.name: _by_label(part, dataset.labels) for part in dataset.splits if len(part)},
        duplicates=len(dataset.train) - len(seen),
        conflicting=tuple(text for text in dataset.train.texts if len(seen[_words(text)]) > 1),
        leaked={
            part.name: tuple(text for text in part.texts if _words(text) in seen)
            for part in (dataset.validation, dataset.test)
        },
        lengths=lengths,
        truncated={cut: _share(lengths, cut) for cut in sorted({*CUTS, max_length})},
        broken=tuple(text for text in texts if MOJIBAKE.search(text) or _has_control(text)),
        unknown=unknown / sum(lengths),
        longest=texts[lengths.index(max(lengths))],
    )


def findings(found: Profile, dataset: Dataset, rules: Preflight, max_length: int) -> Iterable[Finding]:
    """Judge the profile."""
    yield from _labels(found, dataset)
    train = len(dataset.train)
    yield Finding(
        Level.WARNING if found.duplicates else Level.FINE,
        "duplicates",
        f"{found.duplicates} of {train} training texts repeat an earlier one",
        "they weigh more than others: remove them unless that is meant" if found.duplicates else "",
    )
    yield limit(
        "conflicting labels",
        f"{len(found.conflicting)} of {train} training texts stand there under several labels",
        share=len(found.conflicting) / train,
        most=rules.max_conflicting,
        change="decide on one label for each (they are listed below), or raise preflight.max_conflicting",
    )
    for part in (dataset.validation, dataset.test):
        yield limit(
            f"leakage into {part.name}",
            f"{len(found.leaked[part.name])} of {len(part)} texts also stand in the training split",
            share=len(found.leaked[part.name]) / max(1, len(part)),
            most=rules.max_leaked,
            change="figures on them flatter the model: remove them from one side, or raise preflight.max_leaked",
        )
    yield limit(
        "length",
        f"{found.truncated[max_length]:.1%} of the texts are longer than {max_length} tokens (median "
        f"{statistics.median(found.lengths):g}, longest {max(found.lengths)})",
        share=found.truncated[max_length],
        most=rules.max_truncated,
        change=f"their ends are cut off: raise max_length to {_enough(found.lengths)}, which holds 99 % of them",
    )
    yield limit(
        "encoding",
        f"{len(found.broken)} texts have characters that a wrong decoding left",
        share=len(found.broken) / len(found.lengths),
        most=rules.max_broken,
        change="convert the source to UTF-8 once, from the encoding that it was written in",
    )
    yield Finding(
        Level.WARNING if found.unknown > MUCH_UNKNOWN else Level.FINE,
        "vocabulary",
        f"{found.unknown:.1%} of the tokens are unknown to the tokenizer",
        "take a base model of the texts' language and script" if found.unknown > MUCH_UNKNOWN else "",
    )


def _labels(found: Profile, dataset: Dataset) -> Iterable[Finding]:
    counts = found.counts["train"]
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    ratio = counts[commonest] / counts[rarest]
    few = sum(count < FEW_TEXTS for count in counts.values())
    change = ""
    if few:
        change = f"{few} labels have fewer than {FEW_TEXTS} training texts: add some, or merge labels"
    elif ratio > UNEVEN:
        change = "accuracy will hide how rare labels do: add texts of them"
    yield Finding(
        Level.WARNING if change else Level.FINE,
        "label balance",
        f"{len(counts)} labels, from {counts[rarest]} ({rarest}) to {counts[commonest]} ({commonest}) training texts",
        change,
    )
    absent = [label for label in dataset.labels if not found.counts["test"][label]]
    yield Finding(
        Level.WARNING if absent else Level.FINE,
        "label set",
        f"{len(dataset.labels) - len(absent)} of {len(dataset.labels)} labels occur in the test split",
        f"nothing is known about {', '.join(absent[:5])} after the run: add test texts" if absent else "",
    )


def _words(text: str) -> str:
    return " ".join(WORD.findall(text.casefold())) or text


def _by_label(part: Split, labels: Sequence[str]) -> Counter[str]:
    return Counter(labels[number] for number in part.labels)


def _share(lengths: Sequence[int], cut: int) -> float:
    return sum(length > cut for length in lengths) / len(lengths)


def _enough(lengths: Sequence[int]) -> int:
    """The multiple of 16 that holds 99 % of the texts."""
    needed = sorted(lengths)[int(0.99 * (len(lengths) - 1))]
    return -(-needed // 16) * 16


def _has_control(text: str) -> bool:
    return any(unicodedata.category(letter) == "Cc" and letter not in "\t\n\r" for letter in text)
