"""The preflight: everything that can be known to go wrong before hours are spent, and what the run will cost."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import cost, data_sanity, model_sanity, preflight_report, student, teacher
from training.config import Config
from training.cost import Hardware, Size
from training.errors import PreflightError
from training.finding import Finding, Level
from training.machine import Machine
from training.material import Material
from training.model_sanity import Measured
from training.preflight_report import Found, Needs

SAMPLES = 12


def check(config: Config, material: Material, machine: Machine) -> Path:
    """Look at data and model, write the report and return its path. Raises PreflightError when anything failed."""
    found = look(config, material, machine)
    path = config.run_folder / "preflight.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(preflight_report.render(found), encoding="utf-8")
    if found.failures:
        reasons = ". ".join(f"{finding.subject}: {finding.found}: {finding.change}" for finding in found.failures)
        raise PreflightError(f"the preflight stops this run (report: {path}). {reasons}")
    return path


def look(config: Config, material: Material, machine: Machine) -> Found:
    """Everything that the report tells."""
    dataset = material.dataset
    profile = data_sanity.profile(dataset, material.serving, material.tokenizer.unk_token_id, config.max_length)
    findings = list(data_sanity.findings(profile, dataset, config.preflight, config.max_length))
    needs = None
    model = subject(config, material)
    if model is not None:
        about_model, needs = _try_out(config, material, model, machine)
        findings += about_model
    order = random.Random(config.seed)  # noqa: S311 - a sample, no secret
    samples = order.sample(range(len(dataset.train)), min(SAMPLES, len(dataset.train)))
    return Found(config, material, profile, tuple(findings), needs, tuple(samples))


def subject(config: Config, material: Material) -> Any:
    """The first model that the run would train, as it starts out; None if it trains none."""
    if not config.teacher.path:
        return teacher.untrained(material.base, material.dataset.labels, config.seed)
    if config.student.layers == "same":
        return None
    taught = teacher.load(material.base, material.dataset.labels)
    return student.cut(taught, student.layers_to_take(config.student, student.depth(taught)))


def _try_out(
    config: Config, material: Material, model: Any, machine: Machine
) -> tuple[Sequence[Finding], Needs | None]:
    if not config.teacher.path and config.student.layers != "same":
        student.layers_to_take(config.student, student.depth(model))  # raises for what the teacher does not have
    model = model.to(machine.device)
    fit = config.student.fit if config.teacher.path else config.teacher.fit
    labels = len(material.dataset.labels)
    findings = [model_sanity.shapes(model, material.train, labels, config.max_length, machine)]
    if findings[0].level is not Level.FAILURE:
        findings.append(model_sanity.gradients(model, material.train, teacher.cross_entropy, machine))
    if any(finding.level is Level.FAILURE for finding in findings):
        return findings, None
    measured = model_sanity.measure(model, material.train, teacher.cross_entropy, fit, machine)
    needs = _needs(config, material, model_sanity.size_of(model), measured, machine)
    findings.append(model_sanity.overfit(model, material.train, teacher.cross_entropy, fit.learning_rate, machine))
    findings.append(memory(needs, machine))
    return findings, needs


def memory(needs: Needs, machine: Machine) -> Finding:
    """Whether the largest step fits. On a GPU the ladder helps itself; a process without memory is simply killed."""
    free = model_sanity.free_bytes(machine)
    needed = max(needs.formula_bytes, needs.measured.peak_bytes or 0)
    found = f"the largest step takes {needed / 1e9:.2f} GB"
    if free is None or needed < free:
        return Finding(Level.FINE, "memory", found + (f", {free / 1e9:.1f} GB are free" if free else ""))
    level = Level.WARNING if machine.device.type == "cuda" else Level.FAILURE
    change = "raise fit.accumulate (the batch stays as large), set fit.gradient_checkpointing, or lower max_length"
    return Finding(level, "memory", f"{found}, only {free / 1e9:.1f} GB are free", change)


def _needs(config: Config, material: Material, size: Size, measured: Measured, machine: Machine) -> Needs:
    lengths, seed = material.train.lengths, config.seed
    flops = 0.0
    if not config.teacher.path:
        flops += cost.fine_tuning_flops(size, lengths, config.teacher.fit, seed)
    if config.student.layers != "same":
        depth = size.layers if config.teacher.path else student.layer_count(config.student, size.layers)
        live = bool(config.loss.gamma)
        flops += cost.distillation_flops(size.with_layers(depth), size, lengths, config.student.fit, seed, live=live)
    formula = cost.training_bytes(size, *measured.largest)
    teraflops = cost.step_flops(size, *measured.shape) / measured.seconds / 1e12
    here = Hardware("this machine, measured", teraflops, (model_sanity.free_bytes(machine) or 0) / 1e9, 0.0, 0.0)
    bills = (cost.bill(hardware, flops, formula) for hardware in (here, *cost.load_profiles()))
    return Needs(size, measured, formula, flops, tuple(bills))
