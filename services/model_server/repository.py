"""The model repository as found on disk: which versions verify, which one is stable (model-repo/README.md)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_server.errors import RejectedError

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION = re.compile(r"[1-9][0-9]*")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Found:
    """A version folder that was looked at; `reason` says why it does not verify (None: it does)."""

    version: int
    digest: str
    reason: str | None
    fingerprint: str
    config_sha256: str = ""


@dataclass(frozen=True)
class Model:
    """A model folder; `stable` is None, and `problem` says why, when no verified version is named to answer."""

    name: str
    config: str
    stable: Found | None = None
    versions: Mapping[int, Found] = field(default_factory=dict)
    problem: str | None = None

    @property
    def candidate(self) -> Found | None:
        """Return the newest verified version above stable."""
        newest = max((found.version for found in self.versions.values() if found.reason is None), default=0)
        return self.versions[newest] if self.stable is not None and newest > self.stable.version else None

    @property
    def config_changed_since(self) -> list[int]:
        """Return the verified versions that were published with another config.pbtxt: reported, not refused."""
        now = hashlib.sha256(self.config.encode()).hexdigest()
        return sorted(v for v, found in self.versions.items() if found.reason is None and found.config_sha256 != now)

    @property
    def rejected(self) -> dict[int, str]:
        """Return the versions that do not verify, with the reason."""
        return {found.version: found.reason for found in self.versions.values() if found.reason is not None}


def scan(root: Path, target: str, before: Mapping[str, Model]) -> dict[str, Model]:
    """Look at every model; a version that has not changed since `before` is not read again. Raises OSError."""
    models = {}
    for folder in sorted(root.iterdir()):
        if MODEL_NAME.fullmatch(folder.name) and folder.is_dir():
            models[folder.name] = _model(folder, target, before.get(folder.name, Model(folder.name, "")))
    return models


def _model(folder: Path, target: str, before: Model) -> Model:
    versions: dict[int, Found] = {}
    try:
        for path in folder.iterdir():
            if VERSION.fullmatch(path.name) and path.is_dir():
                versions[int(path.name)] = _version(path, target, before.versions.get(int(path.name)))
        config = (folder / "config.pbtxt").read_bytes().decode()
        return Model(folder.name, config, _stable(folder, versions), versions)
    except UnicodeDecodeError:
        return Model(folder.name, "", None, versions, "config.pbtxt is not UTF-8")
    except (OSError, RejectedError) as error:
        problem = "config.pbtxt is missing" if isinstance(error, FileNotFoundError) else str(error)
        return Model(folder.name, "", None, versions, problem)


def _stable(folder: Path, versions: Mapping[int, Found]) -> Found:
    try:
        content = json.loads((folder / "stable.json").read_bytes())
        version, digest = content["version"], content["digest"]
        if type(version) is not int:
            raise TypeError(f"version is {version!r}")
    except FileNotFoundError as error:
        raise RejectedError("stable.json is missing, so no version is named to answer") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RejectedError(f"stable.json is not {{version, digest}}: {error!r}") from error
    found = versions.get(version)
    if found is None:
        raise RejectedError(f"stable.json names version {version}, which does not exist")
    if found.reason is not None:
        raise RejectedError(f"stable.json names version {version}, which does not verify: {found.reason}")
    if found.digest != digest:
        raise RejectedError(f"stable.json's digest is not the digest of version {version}")
    return found


def _version(folder: Path, target: str, before: Found | None) -> Found:
    version, digest, fingerprint = int(folder.name), "", ""
    try:
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        fingerprint = _fingerprint(files)
        if before is not None and before.fingerprint == fingerprint:
            return before
        if "manifest.json" not in files:
            raise RejectedError("manifest.json is missing")
        content = files.pop("manifest.json").read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        config_sha256 = _verify(content, folder.parent.name, version, target, files)
    except (RejectedError, OSError) as error:
        return Found(version, digest, str(error), fingerprint)
    return Found(version, digest, None, fingerprint, config_sha256)


def _fingerprint(files: Mapping[str, Path]) -> str:
    """Return what changes when any file does, without reading them: 70 MB a version are not hashed at every poll."""
    facts = [(name, path.stat()) for name, path in sorted(files.items())]
    return repr([(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in facts])


def _verify(content: bytes, model: str, version: int, target: str, files: Mapping[str, Path]) -> str:
    """Return the SHA-256 of the config.pbtxt that the version was published with."""
    try:
        manifest: Any = json.loads(content)
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise RejectedError(f"schema_version {manifest['schema_version']} is unknown; this reader knows 1")
        listed = {str(name): (entry["sha256"], entry["bytes"]) for name, entry in manifest["files"].items()}
        place, wanted_target = (manifest["model"], manifest["version"]), manifest["target"]
        config_sha256 = str(manifest["config_sha256"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RejectedError(f"manifest.json cannot be read: {error!r}") from error
    if place != (model, version):
        raise RejectedError(f"manifest.json says {place[0]}/{place[1]} but lies in {model}/{version}")
    if wanted_target != target:
        raise RejectedError(f"the version is for target {wanted_target} and this server's is {target} (RETORT_TARGET)")
    if differing := sorted(listed.keys() ^ files.keys()):
        name = differing[0]
        raise RejectedError(f"{name} is {'missing' if name in listed else 'not listed in manifest.json'}")
    for name, (sha256, size) in listed.items():
        if (actual := files[name].stat().st_size) != size:
            raise RejectedError(f"{name} has {actual} bytes, manifest.json says {size}")
        with files[name].open("rb") as stream:
            if (found := hashlib.file_digest(stream, "sha256").hexdigest()) != sha256:
                raise RejectedError(f"{name} has SHA-256 {found}, manifest.json says {sha256}")
    return config_sha256
