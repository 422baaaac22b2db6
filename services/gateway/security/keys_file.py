"""The keys file: one key a line, as its SHA-256, with its owner's name and what it may do."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.caller import PERMISSIONS, Caller, Rate
from gateway.errors import SettingsError

DIGEST = re.compile(r"[0-9a-f]{64}")
WORD = re.compile(r"[A-Za-z0-9._@-]{1,64}")
MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
FORM = "`<sha256 hex of the key> <name>`"
OPTIONS = ("tenant", "rate", "burst", "models", "may")
MAX_PER_S = 1e6
MAX_BURST = 10**9


@dataclass(frozen=True, slots=True)
class KeysFile:
    """Where keys are kept, and the setting that says so; `options`: whether a line may go on after the name."""

    path: Path
    setting: str
    options: bool = True

    def read(self) -> bytes:
        """Return the file as it is now, through whatever symbolic links; SettingsError when it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise SettingsError(f"{self.setting} {self.path} cannot be read: {error.strerror}") from error

    def parse(self, content: bytes) -> dict[str, Caller]:
        """Return the callers by the digest of their key; SettingsError names the line, and never repeats it."""
        callers: dict[str, Caller] = {}
        lines: dict[str, int] = {}
        for number, line in enumerate(content.decode(errors="replace").split("\n"), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                digest, caller = _caller(line.split(), options=self.options)
                if digest in callers:
                    raise _LineError("this key is in the file already")
                first = lines.setdefault(caller.name, number)
                if first != number and caller not in callers.values():
                    raise _LineError(f"the name of line {first} with other options")
            except _LineError as error:  # the line itself may be a key in the clear: it is not repeated here
                raise SettingsError(f"{self.path}, line {number}: {error}") from None
            callers[digest] = caller
        if not callers:
            raise SettingsError(f"{self.setting} {self.path} holds no key")
        return callers


class _LineError(Exception):
    """What is wrong with a line, in words that hold nothing of it."""


def _caller(words: list[str], *, options: bool) -> tuple[str, Caller]:
    if len(words) < 2 or DIGEST.fullmatch(words[0]) is None or "=" in words[1]:
        raise _LineError(f"expected {FORM}" + (" and options" if options else ""))
    if len(words) > 2 and not options:
        raise _LineError(f"expected {FORM} and nothing more")
    given: dict[str, str] = {}
    for position, word in enumerate(words[2:], start=1):
        name, equals, value = word.partition("=")
        if name not in OPTIONS or not equals:
            raise _LineError(f"option {position} is none of " + ", ".join(f"{option}=" for option in OPTIONS))
        if name in given:
            raise _LineError(f"{name}= is there twice")
        given[name] = value
    name = _word(words[1], "the name")
    return words[0], Caller(
        name=name,
        tenant=_word(given.get("tenant", name), "tenant="),
        rate=_rate(given),
        models=_names(given, "models", lambda name: MODEL.fullmatch(name) is not None, "names of models"),
        permissions=_names(given, "may", PERMISSIONS.__contains__, " or ".join(sorted(PERMISSIONS))) or frozenset(),
    )


def _word(value: str, what: str) -> str:
    if WORD.fullmatch(value) is None:
        raise _LineError(f"{what} must be 1 to 64 letters, digits and . _ @ -")
    return value


def _rate(given: Mapping[str, str]) -> Rate | None:
    if "rate" not in given:
        if "burst" in given:
            raise _LineError("burst= says nothing without rate=")
        return None
    try:
        per_s = float(given["rate"])
    except ValueError:
        per_s = math.nan
    if not 0 < per_s <= MAX_PER_S:
        raise _LineError(f"rate= must be requests a second, more than 0 and at most {MAX_PER_S:.0f}")
    burst = given.get("burst", str(math.ceil(per_s)))
    if not (burst.isascii() and burst.isdigit() and 0 < int(burst[:20]) <= MAX_BURST):
        raise _LineError("burst= must be a whole number of requests from 1")
    return Rate(per_s, int(burst))


def _names(
    given: Mapping[str, str], option: str, is_known: Callable[[str], bool], expected: str
) -> frozenset[str] | None:
    if option not in given:
        return None
    names = given[option].split(",")
    if not all(is_known(name) for name in names):
        raise _LineError(f"{option}= must be {expected}, separated by commas")
    return frozenset(names)
