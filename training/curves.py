"""Curves as PNG: loss, validation, rate and gradients of a run, from its journal; the sweep of learning rates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training import journal

EVENTS = ("rescue", "out-of-memory", "spike", "resumed", "stopped-early")


def draw(log: Path, target: Path) -> Path:
    """One row of plots for each stage of the journal: loss, validation accuracy, gradient norm and rate, layers."""
    entries = journal.read(log)
    stages = list(dict.fromkeys(entry["stage"] for entry in entries if entry["kind"] == "step"))
    figure = Figure(figsize=(18, 3.6 * max(1, len(stages))), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(max(1, len(stages)), 4, squeeze=False)
    for stage, (losses, quality, norms, layers) in zip(stages, rows, strict=False):
        _line(losses, journal.curve(entries, stage, "step", "loss"), "training", linewidth=0.6)
        _line(losses, journal.curve(entries, stage, "validation", "loss"), "validation", marker="o")
        _line(quality, journal.curve(entries, stage, "validation", "accuracy"), "accuracy", marker="o")
        _line(norms, journal.curve(entries, stage, "step", "norm"), "gradient norm", linewidth=0.6)
        _line(norms.twinx(), journal.curve(entries, stage, "step", "rate"), "learning rate", color="tab:gray")
        _layers(layers, [entry for entry in entries if (entry["stage"], entry["kind"]) == (stage, "layers")])
        for axes, title in (
            (losses, f"{stage}: loss"),
            (quality, "validation accuracy"),
            (norms, "gradient norm; learning rate in grey"),
            (layers, "update / weights by layer"),
        ):
            axes.set_title(title)
            axes.set_xlabel("step")
        for entry in entries:
            if entry["stage"] == stage and entry["kind"] in EVENTS:
                losses.axvline(entry["step"], color="tab:red", linewidth=0.8, linestyle=":")
        losses.legend()
    figure.savefig(target, dpi=80)
    return target


def draw_sweep(rates: Sequence[float], losses: Sequence[float], suggestion: float, target: Path) -> Path:
    """Loss against learning rate, with the suggested one marked."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    axes.semilogx(rates, losses)
    axes.axvline(suggestion, color="tab:red", linestyle=":")
    axes.set_title(f"smoothed loss by learning rate; try {suggestion:.1e}")
    axes.set_xlabel("learning rate")
    figure.savefig(target, dpi=80)
    return target


def _line(axes: Any, points: dict[int, float], label: str, **style: Any) -> None:
    if points:
        axes.plot(list(points), list(points.values()), label=label, **style)


def _layers(axes: Any, entries: Sequence[dict[str, Any]]) -> None:
    names = list(entries[0]["updates"]) if entries else []
    for name in names:
        axes.plot([entry["step"] for entry in entries], [entry["updates"][name] for entry in entries], label=name)
    if names:
        axes.set_yscale("log")
        axes.legend(fontsize="x-small")
