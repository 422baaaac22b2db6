"""What a run found, as the manifest records it and as the log tells it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from training import config_pbtxt, evaluate
from training.config import Config
from training.data import Dataset
from training.evaluate import Result
from training.gate import Verdict
from training.manifest import (
    Baseline,
    Candidate,
    Description,
    Latency,
    Limits,
    Provenance,
    Quality,
    Sizes,
)
from training.manifest import Tokenizer as TokenizerFacts
from training.semantic import Semantic

TARGET = "cpu"
CONFIDENCE_BINS = 20
WARMUP_LENGTHS = (16, 32, 64, 128)
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Facts:
    """A finished run.

    `results` holds `teacher`, `fp32` (the student) and the candidates; `typical` is the measured length that the
    median test text fits in.
    """

    config: Config
    dataset: Dataset
    tokenizer: Tokenizer
    vocab_size: int
    pad_id: int
    typical: str
    results: Mapping[str, Result]
    tfidf: float
    seconds: float


def description(
    facts: Facts, chosen: str, verdicts: Mapping[str, Verdict], semantic: Semantic | None = None
) -> Description:
    """Everything that the manifest says before the version has a number."""
    config, results = facts.config, facts.results
    published, student, teacher = results[chosen], results["fp32"], results["teacher"]
    return Description(
        task="classification",
        target=TARGET,
        artefact=chosen,
        labels=facts.dataset.labels,
        tokenizer=_tokenizer(facts),
        limits=Limits(config.serving.max_batch_size, config.serving.max_tokens),
        quality=Quality(
            metric="accuracy",
            split=config.data.test,
            rows=len(facts.dataset.test),
            teacher=teacher.accuracy,
            student_fp32=student.accuracy,
            published=published.accuracy,
            baseline_tfidf=facts.tfidf,
        ),
        batch_flip_rate=published.batch_flip_rate,
        candidates=tuple(_candidate(result, verdicts) for name, result in results.items() if name != "teacher"),
        latency=Latency(
            processor=evaluate.processor(),
            threads=1,
            batch=1,
            published_ms=published.latency_ms,
            teacher_ms=teacher.latency_ms,
        ),
        size_bytes=Sizes(published.bytes, student.bytes, teacher.bytes),
        training=_provenance(facts),
        parent=config.teacher.path.rpartition("/")[2] or config.teacher.base.rpartition("/")[2],
        baseline=_baseline(facts.dataset, published),
        embedder=semantic.embedder if semantic else None,
        replay=semantic.replay if semantic else None,
    )


def triton_config(facts: Facts) -> str:
    """The `config.pbtxt` that this model needs."""
    lengths = [length for length in WARMUP_LENGTHS if length < facts.config.max_length]
    return config_pbtxt.render(
        max_batch_size=facts.config.serving.max_batch_size,
        warmup_lengths=[*lengths, facts.config.max_length],
        target=TARGET,
    )


def summary(facts: Facts) -> str:
    """A table of everything that was measured."""
    lines = [
        f"{facts.config.model}: accuracy on {len(facts.dataset.test)} texts of the {facts.config.data.test} split",
        f"  {'':<13} accuracy   flips    size      batch 1, {facts.typical} tokens",
        f"  {'tf-idf':<13} {100 * facts.tfidf:7.2f} %",
    ]
    teacher = facts.results["teacher"].latency_ms[facts.typical]
    for name, result in facts.results.items():
        title = "student fp32" if name == "fp32" else name
        lines.append(
            f"  {title:<13} {100 * result.accuracy:7.2f} % {100 * result.batch_flip_rate:7.2f} % "
            f"{result.bytes / 1e6:7.1f} MB {result.latency_ms[facts.typical]:8.3f} ms, "
            f"{teacher / result.latency_ms[facts.typical]:.1f}x the teacher's speed"
        )
    lines.append(f"  {facts.seconds:.0f} s in all")
    return "\n".join(lines)


def page(facts: Facts, verdicts: str) -> str:
    """The run on one Markdown page, beside the curves and the preflight's report."""
    return (
        f"# {facts.config.model}\n\n```\n{summary(facts)}\n{verdicts}\n```\n\n"
        "![learning curves](curves.png)\n\n"
        "Before the run: [preflight.md](preflight.md). Every step: log.jsonl.\n"
    )


def _tokenizer(facts: Facts) -> TokenizerFacts:
    content = json.loads(facts.tokenizer.to_str())
    steps = _steps(content.get("normalizer"))
    return TokenizerFacts(
        max_length=facts.config.max_length,
        vocab_size=facts.vocab_size,
        pad_id=facts.pad_id,
        lowercase=any(step["type"] == "Lowercase" or step.get("lowercase") is True for step in steps),
        normalizer=tuple(step["type"] for step in steps),
    )


def _steps(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The normalizer's steps in order; `tokenizers` nests them in sequences."""
    if normalizer is None:
        return []
    if normalizer["type"] == "Sequence":
        return [step for part in normalizer["normalizers"] for step in _steps(part)]
    return [normalizer]


def _candidate(result: Result, verdicts: Mapping[str, Verdict]) -> Candidate:
    verdict = verdicts.get(result.artefact)
    return Candidate(
        artefact=result.artefact,
        metric=result.accuracy,
        batch_flip_rate=result.batch_flip_rate,
        bytes=result.bytes,
        latency_ms=result.latency_ms,
        admitted=verdict.admitted if verdict else False,
        reason=f"on the validation split: {verdict.reason}" if verdict else "the reference, not a candidate",
    )


def _provenance(facts: Facts) -> Provenance:
    resolved = dataclasses.asdict(facts.config)
    canonical = json.dumps(resolved, sort_keys=True, ensure_ascii=False).encode()
    return Provenance(
        config_sha256=hashlib.sha256(canonical).hexdigest(),
        data_sha256=facts.dataset.sha256,
        config=resolved,
        seed=facts.config.seed,
        seconds=round(facts.seconds, 1),
        versions={package: metadata.version(package) for package in PACKAGES},
    )


def _baseline(dataset: Dataset, published: Result) -> Baseline:
    logits = published.logits.astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    confidence = (shares / shares.sum(-1, keepdims=True)).max(-1)
    counts, _ = np.histogram(confidence, bins=CONFIDENCE_BINS, range=(0.0, 1.0))
    chosen = np.bincount(logits.argmax(-1), minlength=len(dataset.labels)) / len(logits)
    return Baseline(
        label_distribution=dict(zip(dataset.labels, map(float, chosen), strict=True)),
        confidence_histogram=tuple(map(int, counts)),
        rows=len(logits),
    )
