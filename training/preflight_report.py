"""The preflight's report: Markdown for whoever has to decide whether to spend the hours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.config import Config
from training.cost import Bill, Size
from training.data_sanity import Profile
from training.finding import Finding, Level
from training.material import Material
from training.model_sanity import Measured

MOST_TEXTS = 5  # of each kind that went wrong
MOST_LETTERS = 200


@dataclass(frozen=True)
class Needs:
    """What the training will need: memory of its largest step by the formula, arithmetic in all, and the bills."""

    size: Size
    measured: Measured
    formula_bytes: int
    flops: float
    bills: tuple[Bill, ...]


@dataclass(frozen=True)
class Found:
    """What the preflight saw; `needs` is None when the configuration trains nothing."""

    config: Config
    material: Material
    profile: Profile
    findings: tuple[Finding, ...]
    needs: Needs | None
    samples: tuple[int, ...]

    @property
    def failures(self) -> list[Finding]:
        """What stops the run."""
        return [finding for finding in self.findings if finding.level is Level.FAILURE]


def render(found: Found) -> str:
    """The whole page."""
    failed = len(found.failures)
    verdict = f"**{failed} checks failed: the run stops here.**" if failed else "Nothing stops the run."
    lines = [f"# Preflight of {found.config.model}", "", verdict, ""]
    lines += _table(
        ("check", "", "found", "what to change"),
        ((finding.subject, finding.level.value, finding.found, finding.change) for finding in found.findings),
    )
    lines += ["## Texts", "", *_texts(found)]
    lines += ["## Labels", "", *_labels(found.profile, found.material.dataset.labels)]
    if found.needs:
        lines += ["## Memory, time and cost", "", *_needs(found.needs)]
    return "\n".join(lines)


def _texts(found: Found) -> list[str]:
    train, profile = found.material.dataset.train, found.profile
    labels = found.material.dataset.labels
    lines = _table(
        ("a sample of the training texts", "label"),
        ((_cell(train.texts[row]), labels[train.labels[row]]) for row in found.samples),
    )
    first = train.texts[found.samples[0]]
    tokens = found.material.serving.encode(first).tokens
    lines += ["The first of them as the model reads it:", "", f"    {' '.join(tokens)}", ""]
    lines += [f"The longest text: {_cell(profile.longest)}", ""]
    lines += _table(
        ("max_length", "texts that lose their end"),
        ((str(cut), f"{share:.1%}") for cut, share in profile.truncated.items()),
    )
    for title, texts in (
        ("Training texts with several labels", profile.conflicting),
        *((f"Texts of {name} that also stand in training", texts) for name, texts in profile.leaked.items()),
        ("Texts with broken characters", profile.broken),
    ):
        if texts:
            lines += [f"{title} ({len(texts)}):", ""]
            lines += [f"- {_cell(text)}" for text in sorted(set(texts))[:MOST_TEXTS]] + [""]
    return lines


def _labels(profile: Profile, labels: Sequence[str]) -> list[str]:
    splits = list(profile.counts)
    rows = ((_cell(label), *(str(profile.counts[split][label]) for split in splits)) for label in labels)
    return _table(("label", *splits), rows)


def _needs(needs: Needs) -> list[str]:
    size, measured = needs.size, needs.measured
    rows, length = measured.largest
    weighed = "could not be measured here" if measured.peak_bytes is None else f"{measured.peak_bytes / 1e9:.2f} GB"
    lines = [
        f"The model that is trained first has {size.parameters / 1e6:.1f} million parameters, {size.layers} layers of "
        f"width {size.width}.",
        "",
        f"Memory of the largest step ({rows} texts of {length} tokens): {needs.formula_bytes / 1e9:.2f} GB by the "
        f"formula (parameters x 16 B + rows x length x width x layers x 40 B), measured on one step: {weighed}.",
        "",
        f"A step of {measured.shape[0]} texts of {measured.shape[1]} tokens takes {measured.seconds:.3f} s here. "
        f"All steps of the run need {needs.flops / 1e12:,.1f} TFLOP. Export, quantisation and evaluation come on top; "
        "they run on the processor.",
        "",
    ]
    return lines + _table(
        ("hardware", "time", "on demand", "spot", "memory"),
        (
            (
                bill.hardware,
                _duration(bill.hours),
                f"${bill.dollars:,.2f}" if bill.dollars else "",
                f"${bill.spot_dollars:,.2f}" if bill.dollars else "",
                "fits" if bill.fits else "does not fit",
            )
            for bill in needs.bills
        ),
    )


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.1f} min" if hours < 2 else f"{hours:.1f} h"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return [*lines, ""]


def _cell(text: str) -> str:
    """One line of a text of a stranger, harmless in Markdown."""
    short = " ".join(text.split())
    short = short if len(short) <= MOST_LETTERS else f"{short[:MOST_LETTERS]}..."
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in short)
