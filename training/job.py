"""The whole training job: from a configuration to a published version, or a refusal."""

import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tokenizers import Tokenizer
from tqdm import tqdm

from training import base, baseline, evaluate, export, gate, quantise, report, semantic, student, teacher
from training.config import Config
from training.data import Dataset, load
from training.encoding import Encoded, encode, serving_tokenizer
from training.evaluate import Result
from training.publish import Published, publish
from training.report import Facts
from training.semantic import Semantic
from training.table import Words


@dataclass(frozen=True)
class Material:
    """What the stages share: the data as texts and as ids, the base weights' folder and tokenizer."""

    dataset: Dataset
    train: Encoded
    test: Encoded
    base: Path
    tokenizer: Any
    serving: Tokenizer


def run(config: Config, repository: Path) -> Published:
    """Check the data, fine-tune (or load) the teacher, distil, export, quantise, evaluate, refuse or publish.

    What is published goes with a table of token vectors for the gateway's semantic cache.

    Raises a TrainingError that says what to change; then nothing was published.
    """
    started = time.monotonic()
    accelerator = Accelerator(mixed_precision=_precision(config.precision))
    set_seed(config.seed)
    material = _check(config)
    tfidf = baseline.accuracy(material.dataset, config.seed)
    taught = _teach(config, material, accelerator)
    learned = _distil(config, material, taught, accelerator)
    artefacts = _export(config, taught, learned) | _quantise(config, material)
    results = evaluate.all_of(artefacts, material.test, config.max_length, config.serving.max_batch_size)
    typical = evaluate.typical_length(material.test, tuple(results["fp32"].latency_ms))
    facts = Facts(
        config=config,
        dataset=material.dataset,
        tokenizer=material.serving,
        vocab_size=learned.config.vocab_size,
        pad_id=material.test.pad_id,
        typical=typical,
        results=results,
        tfidf=tfidf,
        seconds=time.monotonic() - started,
    )
    say(report.summary(facts))
    chosen, verdicts = gate.choose(_entries(config, results, typical), results["fp32"].accuracy, config.gate)
    say("\n".join(f"  {verdict.artefact}: {verdict.reason}" for verdict in verdicts.values()))
    cached = _semantic(config, material, learned, accelerator, results[chosen])
    files = {"model.onnx": results[chosen].path, "tokenizer.json": _tokenizer_file(config, material)}
    if cached is not None:
        files |= cached.save(config.run_folder / "artefacts")
    return publish(
        repository,
        config.model,
        report.description(facts, chosen, verdicts, cached),
        files,
        report.triton_config(facts),
    )


def say(text: str) -> None:
    """Tell the user, without disturbing the progress bars."""
    tqdm.write(text, file=sys.stderr)


def _check(config: Config) -> Material:
    dataset = load(config.data, config.seed)
    if config.teacher.path:
        folder = base.resolve(config.teacher.path, "teacher.path")
    else:
        folder = base.resolve(config.teacher.base)
    tokenizer = base.load_tokenizer(folder)
    serving = serving_tokenizer(tokenizer)
    train, test = (
        encode(split, serving, config.max_length, tokenizer.pad_token_id) for split in (dataset.train, dataset.test)
    )
    sizes = ", ".join(f"{len(part)} {part.name}" for part in dataset.splits)
    say(f"{config.model}: {len(dataset.labels)} labels; texts: {sizes}")
    return Material(dataset, train, test, folder, tokenizer, serving)


def _teach(config: Config, material: Material, accelerator: Accelerator) -> Any:
    labels = material.dataset.labels
    if config.teacher.path:
        return teacher.load(material.base, labels)
    model = teacher.fine_tune(config.teacher, material.base, labels, material.train, accelerator, config.seed)
    teacher.save(model, material.tokenizer, config.run_folder / "teacher")
    return model


def _distil(config: Config, material: Material, taught: Any, accelerator: Accelerator) -> Any:
    if config.student.layers == "same":
        return taught
    head = student.masking_for(material.base, material.tokenizer, config.seed)
    learned = student.distil(config, taught, material.train, accelerator, head)
    teacher.save(learned, material.tokenizer, config.run_folder / "student")
    return learned


def _export(config: Config, taught: Any, learned: Any) -> dict[str, Path]:
    """FP32 files of teacher and student, by artefact name."""
    sizes = {"max_length": config.max_length, "vocab_size": learned.config.vocab_size}
    files = {"teacher": taught, "fp32": learned}
    return {name: export.to_onnx(model, _artefact(config, name), **sizes) for name, model in files.items()}


def _quantise(config: Config, material: Material) -> dict[str, Path]:
    """The INT8 candidates, made from the exported student."""
    source = _artefact(config, "fp32")
    order = random.Random(config.seed)  # noqa: S311 - a sample, no secret
    rows = order.sample(material.train.ids, min(config.int8.calibration_rows, len(material.train)))
    makers = {
        "dynamic-int8": lambda target: quantise.dynamic(source, target),
        "static-qdq": lambda target: quantise.static(source, target, rows),
    }
    return {name: makers[name](_artefact(config, name)) for name in config.int8.candidates if name in makers}


def _semantic(
    config: Config, material: Material, learned: Any, accelerator: Accelerator, published: Result
) -> Semantic | None:
    """What the gateway's semantic cache needs, unless the configuration wants none."""
    if not config.embedder.width:
        return None
    words = Words.of(material.serving, material.tokenizer.all_special_ids)
    vectors = semantic.prepare(config.embedder, learned, words, material.train, accelerator, config.seed)
    found = semantic.describe(vectors, config.data.test, material.test, published.logits, config.seed)
    say(
        f"  semantic cache: {100 * found.replay.share:.0f} % of {found.replay.rows} evaluation texts could be answered "
        f"by neighbours at {100 * found.replay.wrong:.1f} % wrong; start threshold {found.replay.start_threshold}"
    )
    return found


def _artefact(config: Config, name: str) -> Path:
    folder = config.run_folder / "artefacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.onnx"


def _tokenizer_file(config: Config, material: Material) -> Path:
    path = config.run_folder / "artefacts" / "tokenizer.json"
    material.serving.save(str(path))
    return path


def _entries(config: Config, results: Mapping[str, Result], typical: str) -> list[gate.Entry]:
    return [
        gate.Entry(name, result.accuracy, result.batch_flip_rate, result.latency_ms[typical])
        for name, result in results.items()
        if name in config.int8.candidates
    ]


def _precision(wanted: str) -> str:
    """Accelerate's name for the precision; `auto` is bf16 where the processor computes in it."""
    if wanted == "auto":
        processor = torch.cpu.get_capabilities()
        able = (
            torch.cuda.is_bf16_supported()
            if torch.cuda.is_available()
            else bool(processor.get("avx512_bf16") or processor.get("amx_bf16"))
        )
        wanted = "bf16" if able else "fp32"
    return {"bf16": "bf16", "fp32": "no"}[wanted]
