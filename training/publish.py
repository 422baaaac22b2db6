"""Publishing: a version folder appears in the model repository whole, or not at all."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from training.errors import PublishError
from training.manifest import MODEL_NAME, Description, File, digest, manifest_bytes
from training.staging import locked, remove_killed_attempts, replace, staging, sync, write


@dataclass(frozen=True)
class Published:
    """A version that now exists: its folder, number and identity, and whether it became stable."""

    model: str
    version: int
    digest: str
    path: Path
    stable: bool


def publish(
    repository: Path, model: str, description: Description, files: Mapping[str, Path], config_pbtxt: str
) -> Published:
    """Copy `files` (name in the version folder -> source) into a new version of `model`.

    A new model appears with its config.pbtxt, version 1 and stable.json in one rename; a further version appears
    in one rename and waits for a promotion. Raises PublishError when the name is bad, the model's config.pbtxt
    belongs to another kind of model, or the disk refuses.
    """
    if not MODEL_NAME.fullmatch(model):
        raise PublishError(f"model name {model!r} does not match {MODEL_NAME.pattern}")
    try:
        repository.mkdir(parents=True, exist_ok=True)
        with locked(repository):
            remove_killed_attempts(repository, repository / model)
            if (repository / model).exists():
                return _add_version(repository / model, model, description, files, config_pbtxt)
            return _add_model(repository, model, description, files, config_pbtxt)
    except OSError as error:
        raise PublishError(f"cannot publish {model} into {repository}: {error}") from error


def _add_model(
    repository: Path, model: str, description: Description, files: Mapping[str, Path], config_pbtxt: str
) -> Published:
    with staging(repository) as folder:
        write(folder / "config.pbtxt", config_pbtxt.encode())
        identity = _fill(folder / "1", model, 1, description, files, config_pbtxt.encode())
        write(folder / "stable.json", _stable(1, identity))
        sync(folder)
        folder.rename(repository / model)
    sync(repository)
    return Published(model, 1, identity, repository / model / "1", stable=True)


def _add_version(
    folder: Path, model: str, description: Description, files: Mapping[str, Path], config_pbtxt: str
) -> Published:
    config = folder / "config.pbtxt"
    if not config.exists():
        replace(config, config_pbtxt.encode())
    _refuse_other_kind(config.read_text(), config_pbtxt, model)
    version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
    with staging(folder) as staged:
        identity = _fill(staged / str(version), model, version, description, files, config.read_bytes())
        (staged / str(version)).rename(folder / str(version))
    sync(folder)
    first = not (folder / "stable.json").exists()
    if first:
        replace(folder / "stable.json", _stable(version, identity))
    return Published(model, version, identity, folder / str(version), stable=first)


def _fill(
    folder: Path,
    model: str,
    version: int,
    description: Description,
    files: Mapping[str, Path],
    config: bytes,
) -> str:
    folder.mkdir()
    for name, source in files.items():
        shutil.copyfile(source, folder / name)
        sync(folder / name)
    manifest = manifest_bytes(
        description,
        model=model,
        version=version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        config_sha256=hashlib.sha256(config).hexdigest(),
        files={name: _measure(folder / name) for name in files},
    )
    write(folder / "manifest.json", manifest)
    sync(folder)
    return digest(manifest)


def _refuse_other_kind(present: str, needed: str, model: str) -> None:
    def kind(text: str) -> tuple[object, ...]:
        try:
            config = text_format.Parse(text, model_config_pb2.ModelConfig())
        except text_format.ParseError as error:
            raise PublishError(f"{model}/config.pbtxt is not a Triton model configuration: {error}") from error
        return (
            config.backend or config.platform,
            sorted((tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in config.input),
            sorted((tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in config.output),
            sorted({group.kind for group in config.instance_group}),
        )

    if kind(present) != kind(needed):
        raise PublishError(
            f"{model} already holds versions with another backend, tensors or target (see its config.pbtxt): "
            "publish under another model name"
        )


def _stable(version: int, identity: str) -> bytes:
    return json.dumps({"version": version, "digest": identity}, indent=2).encode() + b"\n"


def _measure(path: Path) -> File:
    with path.open("rb") as stream:
        return File(hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size)
