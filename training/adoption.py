"""Adoption: a model that was published in one repository, copied whole into another.

Needs the standard library alone: the image that carries the demo model has nothing else.
"""

import hashlib
import json
import shutil
from pathlib import Path

from training.errors import PublishError
from training.manifest import MODEL_NAME, digest
from training.staging import locked, remove_killed_attempts, staging, sync


def models(repository: Path) -> list[Path]:
    """Return the folders of published models. PublishError when the repository cannot be listed."""
    try:
        # By name first: a volume's lost+found may not be looked into.
        named = (path for path in repository.iterdir() if MODEL_NAME.fullmatch(path.name))
        return sorted(path for path in named if (path / "stable.json").is_file())
    except OSError as error:
        raise PublishError(f"cannot list the model repository {repository}: {error.strerror}") from error


def adopt(model: Path, repository: Path) -> str | None:
    """Copy the model folder into `repository` in one rename; return the digest of its stable version.

    None when the repository holds that model already: it stays as it is. Raises PublishError when a file is not what
    its manifest says, or the disk refuses.
    """
    identity = _verified(model)
    try:
        with locked(repository):
            remove_killed_attempts(repository)
            if (repository / model.name).exists():
                return None
            with staging(repository) as folder:
                shutil.copytree(model, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
                _verified(folder)
                for path in folder.rglob("*"):
                    sync(path)
                sync(folder)
                folder.rename(repository / model.name)
            sync(repository)
    except OSError as error:
        raise PublishError(f"cannot copy {model.name} into {repository}: {error}") from error
    return identity


def _verified(model: Path) -> str:
    """Return the digest of the stable version, once every version's files are what its manifest says."""
    try:
        stable = json.loads((model / "stable.json").read_bytes())
        digests = {}
        for manifest in model.glob("[0-9]*/manifest.json"):
            content = manifest.read_bytes()
            digests[int(manifest.parent.name)] = digest(content)
            for name, file in json.loads(content)["files"].items():
                if _sha256(manifest.parent / name) != file["sha256"]:
                    raise PublishError(f"{manifest.parent / name} is not the file that its manifest describes")
        if digests.get(stable["version"]) != stable["digest"]:
            raise PublishError(f"{model / 'stable.json'} names a version that is not there")
    except (OSError, ValueError, KeyError) as error:
        raise PublishError(f"{model} is not a published model: {error}") from error
    return str(stable["digest"])


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
