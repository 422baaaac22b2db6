"""The demo data: support tickets generated from a grammar, with sentences and frames held out for the test split."""

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GRAMMAR = Path(__file__).with_name("demo_tickets.toml")
ROWS_PER_INTENT = {"train": 300, "validation": 100, "test": 200}
MIXED = 0.5  # share of tickets that mention a second intent without asking for it
TYPOS = 0.2  # share of tickets with a slip of the fingers
CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"<(\w+)>")


def generate(seed: int) -> dict[str, list[tuple[str, str]]]:
    """Return (text, intent) rows by split; the same seed gives the same rows."""
    grammar = tomllib.loads(GRAMMAR.read_text(encoding="utf-8"))
    source = random.Random(seed)  # noqa: S311 - texts, no secret
    splits = {}
    for split, count in ROWS_PER_INTENT.items():
        rows = [
            (_ticket(grammar, intent, split, source), intent) for intent in grammar["intents"] for _ in range(count)
        ]
        source.shuffle(rows)
        splits[split] = rows
    return splits


def _ticket(grammar: Mapping[str, Any], intent: str, split: str, source: random.Random) -> str:
    kind = "test" if split == "test" else "train"
    frame, slots = grammar["frame"], grammar["slots"]
    text = _fill(source.choice(grammar["intents"][intent][kind]), slots, source)
    if source.random() < MIXED:
        other = source.choice([name for name in grammar["intents"] if name != intent])
        aside = _fill(source.choice(grammar["intents"][other]["aside"]), slots, source)
        text = source.choice(frame[f"{kind}_mix"]).replace("<aside>", aside).replace("<ask>", text)
    text = source.choice(frame[f"{kind}_open"]) + text
    if text[-1].isalnum():
        text += source.choice((".", "!", "?", ""))
    text += _fill(source.choice(frame[f"{kind}_close"]), slots, source)
    if source.random() < TYPOS:
        text = _slip(text, source)
    return text[0].upper() + text[1:] if source.random() < 0.7 else text.lower()


def _fill(sentence: str, slots: Mapping[str, Sequence[str]], source: random.Random) -> str:
    chosen = CHOICE.sub(lambda match: source.choice(match.group(1).split("|")), sentence)
    return SLOT.sub(lambda match: source.choice(slots[match.group(1)]), chosen)


def _slip(text: str, source: random.Random) -> str:
    """Swap two neighbouring letters of one longer word."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not long:
        return text
    at = source.choice(long)
    cut = source.randrange(1, len(words[at]) - 2)
    word = words[at]
    words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words)
