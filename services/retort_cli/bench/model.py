"""The model under test: found in a repository, and laid out alone in a scratch one, with its FP32 file beside it."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gateway.errors import RepositoryError
from gateway.serving.manifest import Manifest
from gateway.serving.repository import Repository
from retort_cli.bench.errors import SkippedError
from retort_cli.errors import CommandError

PREFERRED = "minilm6-int8"
FP32 = "fp32"


@dataclass(frozen=True)
class Model:
    """The stable version of a model, every file of it verified."""

    folder: Path
    manifest: Manifest
    artefact: str
    fp32_bytes: int

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.manifest.model

    @property
    def version_folder(self) -> Path:
        """Return where the version's files are."""
        return self.folder / str(self.manifest.version)

    @property
    def network(self) -> Path:
        """Return the ONNX file that is served."""
        return self.version_folder / "model.onnx"

    @property
    def tokenizer(self) -> Path:
        """Return the tokenizer's file."""
        return self.version_folder / "tokenizer.json"

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of every text."""
        tokenizer = Tokenizer.from_file(str(self.tokenizer))
        tokenizer.enable_truncation(self.manifest.max_length)
        tokenizer.no_padding()
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def find(repository: Path, name: str | None) -> Model:
    """Return the model `name`, or the preferred one, or the first; CommandError says why there is none."""
    if not repository.is_dir():
        raise CommandError(f"there is no model repository {repository}; `retort train CONFIG` makes one")
    try:
        stored = Repository(str(repository)).scan({})
    except RepositoryError as error:
        raise CommandError(str(error)) from error
    served = {model: entry.versions[entry.stable] for model, entry in stored.items() if entry.stable is not None}
    if name is None and not served:
        raise CommandError(f"{repository} holds no model that can be served; `retort train CONFIG` publishes one")
    chosen = name or (PREFERRED if PREFERRED in served else min(served))
    if chosen not in served:
        problem = stored[chosen].problem if chosen in stored else f"it holds {', '.join(sorted(served)) or 'none'}"
        raise CommandError(f"{repository} has no model {chosen!r} that can be served: {problem}")
    manifest, folder = served[chosen].manifest, repository / chosen
    content: dict[str, Any] = json.loads((folder / str(manifest.version) / "manifest.json").read_bytes())
    model = Model(folder, manifest, content["artefact"], content["size_bytes"]["student_fp32"])
    if manifest.pair or manifest.target != "cpu" or "model.onnx" not in manifest.files:
        raise CommandError(
            f"{chosen} cannot be measured here: the benchmark sends single texts to an ONNX file on a CPU"
        )
    return model


def find_fp32(model: Model, given: Path | None, runs: Path) -> Path:
    """Return the FP32 file that the published one was made from; SkippedError says what is missing."""
    if given is not None:
        if not given.is_file():
            raise CommandError(f"--fp32 {given} is not a file")
        return given
    if model.artefact == FP32:
        return model.network
    path = runs / model.name / "artefacts" / "fp32.onnx"
    if not path.is_file():
        raise SkippedError(f"no FP32 file: {path}, which training leaves, is not there; --fp32 FILE names another")
    if path.stat().st_size != model.fp32_bytes:
        raise SkippedError(
            f"{path} is not the file that {model.name} {model.manifest.version} was made from: it has "
            f"{path.stat().st_size} bytes, the manifest says {model.fp32_bytes}; --fp32 FILE names another"
        )
    return path


def lay_out(model: Model, repository: Path, fp32: Path | None) -> str | None:
    """Copy the version into an empty `repository`, and once more with its FP32 file; return that one's name.

    A copy, so that Triton loads nothing else and a publish in the meantime changes nothing.
    """
    _copy(model, repository / model.name)
    if fp32 is None:
        return None
    if fp32 == model.network:
        return model.name
    name = f"{model.name[:57]}-{FP32}"
    _copy(model, repository / name)
    version = repository / name / str(model.manifest.version)
    shutil.copyfile(fp32, version / "model.onnx")
    manifest = json.loads((version / "manifest.json").read_bytes())
    manifest["model"] = name
    manifest["files"]["model.onnx"] = {
        "bytes": fp32.stat().st_size,
        "sha256": hashlib.sha256(fp32.read_bytes()).hexdigest(),
    }
    content = json.dumps(manifest, indent=2, sort_keys=True).encode()
    (version / "manifest.json").write_bytes(content)
    stable = {"version": model.manifest.version, "digest": "sha256:" + hashlib.sha256(content).hexdigest()}
    (repository / name / "stable.json").write_text(json.dumps(stable))
    return name


def _copy(model: Model, folder: Path) -> None:
    version = folder / str(model.manifest.version)
    shutil.copytree(model.version_folder, version)
    shutil.copyfile(model.folder / "config.pbtxt", folder / "config.pbtxt")
    stable = {"version": model.manifest.version, "digest": model.manifest.digest}
    (folder / "stable.json").write_text(json.dumps(stable))
