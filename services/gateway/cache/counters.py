"""Counters: all that is remembered of the audits of one version, in two generations."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Counters:
    """Draws and wrong ones: `n`, `k` by bin of the score, `cn`, `ck` by class. They add up in any order."""

    n: tuple[int, ...]
    k: tuple[int, ...]
    cn: Mapping[str, int] = field(default_factory=dict)
    ck: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, bins: int) -> Self:
        """Return the counters of a cache that has audited nothing."""
        return cls((0,) * bins, (0,) * bins)

    @classmethod
    def parse(cls, fields: Mapping[str, str], bins: int) -> Self:
        """Return the counters that a Redis hash holds; ValueError when it holds anything else."""
        found: dict[str, dict[str, int]] = {"n": {}, "k": {}, "cn": {}, "ck": {}}
        for name, value in fields.items():
            kind, _, key = name.partition(":")
            if kind not in found or (kind in "nk" and key not in map(str, range(bins))) or int(value) < 0:
                raise ValueError(f"{name!r} = {value!r} counts no draws of a cache with {bins} bins")
            found[kind][key] = int(value)
        for wrong, drawn in (("k", "n"), ("ck", "cn")):
            if any(count > found[drawn].get(key, 0) for key, count in found[wrong].items()):
                raise ValueError(f"{found[wrong]} wrong of {found[drawn]} draws: more than there were")
        n, k = (tuple(found[kind].get(str(i), 0) for i in range(bins)) for kind in "nk")
        return cls(n, k, found["cn"], found["ck"])

    def fields(self) -> dict[str, int]:
        """Return what to add to a Redis hash: `n:i`, `k:i`, `cn:label`, `ck:label`, without the zeros."""
        named = {
            **{f"n:{i}": count for i, count in enumerate(self.n)},
            **{f"k:{i}": count for i, count in enumerate(self.k)},
            **{f"cn:{label}": count for label, count in self.cn.items()},
            **{f"ck:{label}": count for label, count in self.ck.items()},
        }
        return {name: count for name, count in named.items() if count}

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(
            tuple(a + b for a, b in zip(self.n, other.n, strict=True)),
            tuple(a + b for a, b in zip(self.k, other.k, strict=True)),
            Counter(self.cn) + Counter(other.cn),
            Counter(self.ck) + Counter(other.ck),
        )


@dataclass(frozen=True, slots=True)
class Generations:
    """The evidence that counts is the last full generation and the current one; older ones are forgotten."""

    previous: Counters
    current: Counters

    @classmethod
    def empty(cls, bins: int) -> Self:
        """Return the evidence of a new version, or of one whose cache was emptied."""
        return cls(Counters.empty(bins), Counters.empty(bins))

    @property
    def window(self) -> Counters:
        """What decisions are made from."""
        return self.previous + self.current

    def plus(self, more: Counters) -> "Generations":
        """Return the generations with more draws."""
        return Generations(self.previous, self.current + more)

    def rotated(self) -> "Generations":
        """Return the generations after the current one is full."""
        return Generations(self.current, Counters.empty(len(self.current.n)))
