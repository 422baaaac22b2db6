"""The manifest of a version, as read (model-repo/README.md is the specification)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.errors import VersionRejectedError

SCHEMA_VERSION = 1
TASKS = ("classification", "ranking", "regression")
KIND = {"kind": "token-sum", "dtype": "int8", "normalised": "l2"}  # what cache/embedder.py computes
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the version folder: bare lowercase hex SHA-256 and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """The table of token vectors, `file`: INT8 [vocab_size, width]. `start_threshold` is what to expect of `score`."""

    file: str
    width: int
    score: str | None
    start_threshold: float | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the gateway needs to know about a version; `digest` is its identity."""

    model: str
    version: int
    digest: str
    task: str
    target: str
    labels: tuple[str, ...]
    pair: bool
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    max_length: int
    vocab_size: int
    pad_id: int
    max_batch_size: int
    max_tokens: int
    edges: Mapping[str, tuple[int, ...]]
    config_sha256: str
    files: Mapping[str, File]
    embedder: EmbedderFacts | None = None  # None: no semantic cache


def digest_of(content: bytes) -> str:
    """Return the identity of the version whose `manifest.json` holds `content`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def parse(content: bytes, *, model: str, version: int) -> Manifest:
    """Read `manifest.json` of `model`/`version`; VersionRejectedError names what is wrong with it."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested deeper than Python's stack
        raise VersionRejectedError(f"manifest.json is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise VersionRejectedError("manifest.json is not a JSON object")
    schema = _get(raw, "schema_version", int)
    if schema != SCHEMA_VERSION:
        raise VersionRejectedError(f"schema_version {schema} is unknown; this gateway reads {SCHEMA_VERSION}")
    if (found := (_get(raw, "model", str), _get(raw, "version", int))) != (model, version):
        raise VersionRejectedError(f"manifest.json says {found[0]}/{found[1]} but lies in {model}/{version}")
    task = _get(raw, "task", str)
    if task not in TASKS:
        raise VersionRejectedError(f"task {task!r} is not one that this gateway answers ({', '.join(TASKS)})")
    tokenizer, limits = _get(raw, "tokenizer", dict), _get(raw, "limits", dict)
    manifest = Manifest(
        model=model,
        version=version,
        digest=digest_of(content),
        task=task,
        target=_get(raw, "target", str),
        labels=tuple(_strings(raw, "labels")),
        pair=_get(raw, "pair", bool),
        inputs=dict(_get(raw, "inputs", dict)),
        outputs=dict(_get(raw, "outputs", dict)),
        max_length=_positive(tokenizer, "max_length", "tokenizer."),
        vocab_size=_positive(tokenizer, "vocab_size", "tokenizer."),
        pad_id=_get(tokenizer, "pad_id", int, "tokenizer."),
        max_batch_size=_positive(limits, "max_batch_size", "limits."),
        max_tokens=_positive(limits, "max_tokens", "limits."),
        edges=_edges(_get(raw, "edges", dict)),
        config_sha256=_get(raw, "config_sha256", str),
        files={name: _file(name, entry) for name, entry in _get(raw, "files", dict).items()},
        embedder=_embedder(raw),
    )
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    needed = {"input_ids", "attention_mask"} | ({"token_type_ids"} if manifest.pair else set())
    if dict.fromkeys(needed, "INT64") != manifest.inputs or manifest.outputs != {"logits": "FP32"}:
        raise VersionRejectedError(
            f"inputs {dict(manifest.inputs)} and outputs {dict(manifest.outputs)} are not those of model-repo/README.md"
        )
    if manifest.task == "classification" and not manifest.labels:
        raise VersionRejectedError("manifest.json of a classification model has no labels")
    if manifest.max_tokens < manifest.max_length:
        raise VersionRejectedError("limits.max_tokens is less than one text of tokenizer.max_length tokens")
    if "tokenizer.json" not in manifest.files:
        raise VersionRejectedError("manifest.json lists no tokenizer.json")
    if (embedder := manifest.embedder) is not None:
        listed = manifest.files.get(embedder.file)
        if listed is None or listed.bytes != manifest.vocab_size * embedder.width:
            raise VersionRejectedError(
                f"manifest.json lists no {embedder.file} of tokenizer.vocab_size x embedder.width bytes"
            )


def _get(raw: Mapping[str, Any], key: str, kind: type[T], where: str = "") -> T:
    if key not in raw:
        raise VersionRejectedError(f"manifest.json lacks {where}{key}")
    value = raw[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise VersionRejectedError(f"manifest.json: {where}{key} is not of type {kind.__name__}")
    return value


def _positive(raw: Mapping[str, Any], key: str, where: str) -> int:
    if (value := _get(raw, key, int, where)) < 1:
        raise VersionRejectedError(f"manifest.json: {where}{key} is {value}, must be at least 1")
    return value


def _strings(raw: Mapping[str, Any], key: str) -> list[str]:
    values = _get(raw, key, list)
    if not all(isinstance(value, str) for value in values):
        raise VersionRejectedError(f"manifest.json: {key} holds something that is not text")
    return values


def _edges(raw: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    edges = {name: tuple(_get(raw, name, list, "edges.")) for name in raw}
    for name, lengths in edges.items():
        if not all(type(length) is int and length > 0 for length in lengths):
            raise VersionRejectedError(f"manifest.json: edges.{name} holds something that is no length of 1 or more")
    return {name: tuple(sorted(lengths)) for name, lengths in edges.items()}


def _embedder(raw: Mapping[str, Any]) -> EmbedderFacts | None:
    """Versions from before there were embedders, and kinds of later times, answer without a semantic cache."""
    if raw.get("embedder") is None:
        return None
    found, replay = _get(raw, "embedder", dict), {} if raw.get("replay") is None else _get(raw, "replay", dict)
    if any(_get(found, name, str, "embedder.") != known for name, known in KIND.items()):
        return None
    return EmbedderFacts(
        file=_get(found, "file", str, "embedder."),
        width=_positive(found, "width", "embedder."),
        score=_get(replay, "score", str, "replay.") if replay else None,
        start_threshold=None
        if replay.get("start_threshold") is None
        else _get(replay, "start_threshold", float, "replay."),
    )


def _file(name: str, entry: Any) -> File:
    if not isinstance(entry, dict):
        raise VersionRejectedError(f"manifest.json: files.{name} is not an object")
    return File(_get(entry, "sha256", str, f"files.{name}."), _get(entry, "bytes", int, f"files.{name}."))
