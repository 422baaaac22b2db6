"""What is derived: the README's table from values.yaml, the schema's `gateway.settings` from the gateway's settings.

python deploy/helm/generate.py          writes both; a test says when that was forgotten
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "retort"
BEGIN, END = "<!-- the table is written by deploy/helm/generate.py -->", "<!-- end of the table -->"
# The chart's own values decide these.
CHARTS_OWN = frozenset({"gateway_drain_s", "gateway_hold_s", "gateway_shutdown_s", "gateway_trace_share"})
BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum"}


@dataclass(frozen=True)
class Value:
    """One key of values.yaml: its path, its default and the comment above it."""

    path: str
    default: Any
    meaning: str


def values(text: str) -> list[Value]:
    """Return every key whose value is no block of further keys, in order."""
    root = yaml.compose(text)
    return list(_values(root, text.splitlines(), "")) if isinstance(root, yaml.MappingNode) else []


def _values(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and not value.flow_style and not _is_resources(key.value):
            yield from _values(value, lines, f"{path}.")
        else:
            yield Value(path, yaml.safe_load(yaml.serialize(value)), _comment(lines, key.start_mark.line))


def _is_resources(key: str) -> bool:
    return key.lower().endswith("resources")


def _comment(lines: list[str], at: int) -> str:
    """Return the comment that ends on the line before `at`, as one line."""
    first = at
    while first and lines[first - 1].strip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("# ") for line in lines[first:at])


def table(text: str) -> str:
    """Return the README's table."""
    rows = [
        f"| `{v.path}` | `{json.dumps(v.default)}` | {v.meaning.replace('|', chr(92) + '|')} |" for v in values(text)
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def settings_schema() -> dict[str, Any]:
    """Return what `gateway.settings` may hold: the gateway's own names, with the types and bounds of its settings."""
    from gateway.settings import Settings

    def entry(field: dict[str, Any]) -> dict[str, Any]:
        kept = {name: bound for name, bound in field.items() if name in BOUNDS}
        return {"type": field["type"], **kept, **({"description": d} if (d := field.get("description")) else {})}

    fields = Settings.model_json_schema()["properties"]
    own = [name for name in fields if name.startswith("gateway_") and name not in CHARTS_OWN]
    properties = {f"RETORT_{name.upper()}": entry(fields[name]) for name in own}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def readme() -> str:
    """Return the README with the table of today."""
    text = (CHART / "README.md").read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table((CHART / 'values.yaml').read_text())}\n\n{END}{tail}"


def schema() -> str:
    """Return the schema with the settings of today."""
    found = json.loads((CHART / "values.schema.json").read_text())
    found["definitions"]["gatewaySettings"] = settings_schema()
    return json.dumps(found, indent=2) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "services"))
    (CHART / "README.md").write_text(readme())
    (CHART / "values.schema.json").write_text(schema())
