"""The texts: sentences of everyday lengths, each sent with a number so that no two requests are equal."""

import json
from collections.abc import Sequence
from pathlib import Path

from retort_cli.errors import CommandError

SENTENCES = (
    "thank you, that worked",
    "the parcel came two days late and nobody could say why",
    "where can i change the address on my account",
    "a slow first half, but the ending made me forget it",
    "please cancel the order i placed this morning",
    "the second speaker repeated most of what the first had said",
    "i was charged twice for the same ticket and would like the money back",
    "the kettle leaks",
    "how long does a transfer to another bank usually take",
    "they answered within an hour and sent a new one without asking for the receipt",
    "the acting is fine although the story never quite knows where it wants to go",
    "my card was declined at the station although there was enough on it",
    "does the blue one also come in a smaller size",
    "what a lovely, quiet little film about people who hardly speak to each other",
    "i have tried to reset my password three times now and the mail with the link never arrives",
    "set an alarm for six tomorrow",
)


def read(path: Path | None) -> list[str]:
    """Return the texts of a file, one a line, or the built-in ones."""
    if path is None:
        return list(SENTENCES)
    try:
        texts = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--texts {path} cannot be read: {error}") from error
    if not texts:
        raise CommandError(f"--texts {path} holds no text; write one a line")
    return texts


def numbered(texts: Sequence[str], start: int, count: int) -> list[str]:
    """Return `count` different texts, the first with the number `start`."""
    return [f"{texts[number % len(texts)]} {number}" for number in range(start, start + count)]


def body(text: str) -> bytes:
    """Return the text as /predict reads it."""
    return json.dumps({"text": text}).encode()
