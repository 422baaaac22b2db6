"""Figures: the metrics of several processes as those of one."""

import math
from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric

from gateway.metrics import LEAST, SUMMED

# A family: name, documentation, type, samples (name, labels, value). Plain lists, because they travel as JSON.
Figures = list[Any]

GROWING = ("counter", "histogram")


def plain(families: Iterable[Metric]) -> Figures:
    """Return what a registry collects, as it travels."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in families
    ]


def kept(figures: Figures) -> Figures:
    """Return what stays true when the process is gone: what it has counted."""
    return [family for family in figures if family[2] in GROWING]


def together(parts: Iterable[Figures]) -> list[Metric]:
    """Return one set of figures: what was counted is summed, of states that which a look at the whole must show."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[Any, ...], list[Any]]] = {}
    for name, documentation, kind, samples in (family for part in parts for family in part):
        if name not in families:
            families[name], values[name] = Metric(name, documentation, kind), {}
        known = values[name]
        for sample, labels, value in samples:
            key = (sample, *labels.items())
            if (before := known.get(key)) is None:
                known[key] = [sample, labels, value]
            elif value is not None:  # JSON has no NaN
                before[2] = value if before[2] is None else _joined(kind, sample, before[2], value)
    for name, family in families.items():
        for sample, labels, value in values[name].values():
            family.add_sample(sample, labels, math.nan if value is None else value)
    return list(families.values())


def _joined(kind: str, sample: str, one: float, other: float) -> float:
    if sample.endswith("_created") or sample in LEAST:
        return min(one, other)
    if kind in GROWING or sample in SUMMED:
        return one + other
    return max(one, other)
