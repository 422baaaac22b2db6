"""The whole training job: from a configuration to a published version, or a refusal."""

import random
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training import (
    baseline,
    curves,
    evaluate,
    export,
    gate,
    machine,
    preflight,
    quantise,
    rate_finder,
    report,
    semantic,
    student,
    teacher,
)
from training.config import Config
from training.evaluate import Answers, Result
from training.journal import Journal
from training.loop import Stage
from training.machine import Machine
from training.material import Material, gather
from training.publish import Published, publish
from training.rate_finder import Sweep
from training.report import Facts
from training.semantic import Semantic
from training.table import Words


def run(config: Config, repository: Path) -> Published | None:
    """Check everything, fine-tune (or load) the teacher, distil, export, quantise, evaluate, refuse or publish.

    What is published goes with a table of token vectors for the gateway's semantic cache.

    A killed run goes on from its last checkpoint. Raises a TrainingError that says what to change; then nothing was
    published. Where several processes train, the first evaluates and publishes; the others return None.
    """
    started = time.monotonic()
    with machine.join(config.precision) as here:
        material = gather(config)
        if here.leads:
            _check(config, material, here)
        taught = _teach(config, material, here)
        learned = _distil(config, material, taught, here)
    if not here.leads:
        return None
    artefacts = _export(config, taught, learned) | _quantise(config, material)
    judged = evaluate.answers_of(artefacts, material.validation, config.serving.max_batch_size)
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
        tfidf=baseline.accuracy(material.dataset, config.seed),
        seconds=time.monotonic() - started,
    )
    entries = [_entry(name, judged, results, typical) for name in config.int8.candidates]
    verdicts = gate.verdicts(entries, judged["fp32"].accuracy, config.gate)
    _report(facts, verdicts)
    chosen = gate.choose(entries, verdicts)
    cached = _semantic(config, material, learned, here.alone(), results[chosen])
    files = {"model.onnx": results[chosen].path, "tokenizer.json": _tokenizer_file(config, material)}
    if cached is not None:
        files |= cached.save(config.run_folder / "artefacts")
    published = publish(
        repository,
        config.model,
        report.description(facts, chosen, verdicts, cached),
        files,
        report.triton_config(facts),
    )
    shutil.rmtree(config.run_folder / "checkpoints", ignore_errors=True)  # the next run is another one
    return published


def check(config: Config) -> Path:
    """Only the preflight: returns its report's path, raises PreflightError when the run should not start."""
    with machine.join(config.precision) as here:
        return preflight.check(config, gather(config), here)


def find_rate(config: Config) -> tuple[Sweep, Path]:
    """Only the learning-rate finder: returns the sweep and its plot's path."""
    with machine.join(config.precision) as here:
        return rate_finder.find(config, gather(config), here)


def say(text: str) -> None:
    """Tell the user, without disturbing the progress bars."""
    tqdm.write(text, file=sys.stderr)


def _check(config: Config, material: Material, here: Machine) -> None:
    sizes = ", ".join(f"{len(part)} {part.name}" for part in material.dataset.splits)
    say(f"{config.model}: {len(material.dataset.labels)} labels; texts: {sizes}")
    say(f"preflight: nothing stops this run, see {preflight.check(config, material, here)}")


def _teach(config: Config, material: Material, here: Machine) -> Any:
    labels = material.dataset.labels
    if config.teacher.path:
        return teacher.load(material.base, labels)
    stage = _stage(config, material, here, "teacher")
    model = teacher.fine_tune(config.teacher, material.base, labels, material.train, here, stage)
    if here.leads:
        teacher.save(model, material.tokenizer, config.run_folder / "teacher")
    return model


def _distil(config: Config, material: Material, taught: Any, here: Machine) -> Any:
    if config.student.layers == "same":
        return taught
    head = student.masking_for(material.base, material.tokenizer)
    stage = _stage(config, material, here, "student", config.loss, config.student.take)
    learned = student.distil(config, taught, material.train, here, stage, head)
    if here.leads:
        teacher.save(learned, material.tokenizer, config.run_folder / "student")
    return learned


def _stage(config: Config, material: Material, here: Machine, name: str, *facts: object) -> Stage:
    return Stage(
        name=name,
        seed=config.seed,
        validation=material.validation,
        folder=config.run_folder / "checkpoints" / name,
        journal=Journal(_log(config) if here.leads else None),
        checkpoint_s=config.checkpoint_s,
        facts=facts,
    )


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


def _entry(name: str, judged: Mapping[str, Answers], results: Mapping[str, Result], typical: str) -> gate.Entry:
    """An artefact before the gate: judged on the validation split, so that the test split chooses nothing.

    Flips are looked for in every text there is; that takes no labels.
    """
    flips = max(judged[name].flip_rate, results[name].batch_flip_rate)
    return gate.Entry(name, judged[name].accuracy, flips, results[name].latency_ms[typical])


def _report(facts: Facts, verdicts: Mapping[str, gate.Verdict]) -> None:
    folder, rows = facts.config.run_folder, len(facts.dataset.validation)
    lines = [f"  {verdict.artefact}: {verdict.reason}" for verdict in verdicts.values()]
    told = "\n".join([f"the gate, on {rows} texts of the validation split", *lines])
    say(f"{report.summary(facts)}\n{told}")
    if _log(facts.config).exists():
        curves.draw(_log(facts.config), folder / "curves.png")
    (folder / "report.md").write_text(report.page(facts, told), encoding="utf-8")


def _log(config: Config) -> Path:
    return config.run_folder / "log.jsonl"


def _semantic(config: Config, material: Material, learned: Any, alone: Machine, published: Result) -> Semantic | None:
    """What the gateway's semantic cache needs, unless the configuration wants none."""
    if not config.embedder.width:
        return None
    words = Words.of(material.serving, material.tokenizer.all_special_ids)
    vectors = semantic.prepare(config.embedder, learned, words, material.train, alone, config.seed)
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
