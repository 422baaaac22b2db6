"""PromQL as far as tests need it: which series an expression asks for, and with which labels."""

import re

METRIC = re.compile(r"\b((?:retort|nv|process|python|up)\w*)\b(?:\{([^}]*)\})?(?!\s*\()")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"by \(([^)]*)\)")


def asked(expression: str) -> list[tuple[str, set[str]]]:
    """Return (series, labels in its matchers)."""
    bare = GROUPING.sub("", expression)
    return [(name, set(MATCHER.findall(matchers))) for name, matchers in METRIC.findall(bare)]


def complaints(expression: str, series: dict[str, set[str]]) -> list[str]:
    """Return what the expression asks for that is not there."""
    found = asked(expression)
    unknown = [name for name, _ in found if name not in series]
    if unknown or not found:
        return [f"unknown: {unknown}" if unknown else "asks for nothing"]
    grouped = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",") if label.strip()}
    every = set.union(*(series[name] for name, _ in found))
    wrong = [f"{name} has no {sorted(labels - series[name])}" for name, labels in found if labels - series[name]]
    return wrong + [f"nothing has {sorted(grouped - every)}"] * bool(grouped - every)
