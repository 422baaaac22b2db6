"""The manifest: what a published version is, as written (model-repo/README.md is the specification)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA_VERSION = 1
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Tokenizer:
    """How text becomes ids; `max_length` counts tokens, special ones included."""

    max_length: int
    vocab_size: int
    pad_id: int
    lowercase: bool
    normalizer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What one call may hold: rows, and rows x padded length."""

    max_batch_size: int
    max_tokens: int


@dataclass(frozen=True)
class Quality:
    """The metric on the evaluation split, each between 0 and 1."""

    metric: str
    split: str
    rows: int
    teacher: float
    student_fp32: float
    published: float
    baseline_tfidf: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One artefact that was evaluated; `latency_ms` maps token length to the median at batch 1."""

    artefact: str
    metric: float
    batch_flip_rate: float
    bytes: int
    latency_ms: Mapping[str, float]
    admitted: bool
    reason: str


@dataclass(frozen=True)
class Latency:
    """Median milliseconds by token length, measured where the model was trained."""

    processor: str
    threads: int
    batch: int
    published_ms: Mapping[str, float]
    teacher_ms: Mapping[str, float]


@dataclass(frozen=True)
class Sizes:
    """Bytes on disk of the ONNX files."""

    published: int
    student_fp32: int
    teacher_fp32: int


@dataclass(frozen=True)
class Provenance:
    """What the version was trained from; `config` is the resolved configuration."""

    config_sha256: str
    data_sha256: str
    config: Mapping[str, Any]
    seed: int
    seconds: float
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Baseline:
    """What predictions looked like on the evaluation split: 20 equal confidence bins over 0..1."""

    label_distribution: Mapping[str, float]
    confidence_histogram: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class StaticEmbedder:
    """The table of token vectors, `file`: INT8 values row by row, [tokenizer.vocab_size, width]."""

    file: str
    width: int
    kind: str = "token-sum"
    dtype: str = "int8"
    normalised: str = "l2"


@dataclass(frozen=True)
class SemanticReplay:
    """Evaluation texts through a semantic cache: the threshold of `score` to expect, None if no region was good."""

    split: str
    rows: int
    score: str
    start_threshold: float | None
    share: float
    wrong: float


@dataclass(frozen=True)
class Description:
    """Everything about a version that is known before it has a number."""

    task: str
    target: str
    artefact: str
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    limits: Limits
    quality: Quality
    batch_flip_rate: float
    candidates: tuple[Candidate, ...]
    latency: Latency
    size_bytes: Sizes
    training: Provenance
    parent: str
    baseline: Baseline
    pair: bool = False
    embedder: StaticEmbedder | None = None
    replay: SemanticReplay | None = None
    inputs: Mapping[str, str] = field(default_factory=lambda: {"input_ids": "INT64", "attention_mask": "INT64"})
    outputs: Mapping[str, str] = field(default_factory=lambda: {"logits": "FP32"})
    edges: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {"onnxruntime": (), "tensorrt": (16, 32, 64, 128)}
    )


@dataclass(frozen=True)
class File:
    """A file of the version folder: bare lowercase hex SHA-256 and size."""

    sha256: str
    bytes: int


def manifest_bytes(
    description: Description,
    *,
    model: str,
    version: int,
    created_at: str,
    config_sha256: str,
    files: Mapping[str, File],
) -> bytes:
    """Return the canonical bytes of `manifest.json`; their SHA-256 is the version's digest."""
    content = asdict(description) | {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "version": version,
        "created_at": created_at,
        "config_sha256": config_sha256,
        "files": {name: asdict(file) for name, file in files.items()},
    }
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def digest(manifest: bytes) -> str:
    """Return the identity of the version whose `manifest.json` holds these bytes."""
    return "sha256:" + hashlib.sha256(manifest).hexdigest()
