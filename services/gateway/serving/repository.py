"""The model repository as found on disk or in a bucket: which versions verify, which one is stable."""

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from gateway.errors import RepositoryUnreadableError, VersionRejectedError
from gateway.serving.manifest import Manifest, parse

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION = re.compile(r"[1-9][0-9]*")
BLOCK_BYTES = 1 << 20
LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version whose every file has the size and hash that its manifest says."""

    manifest: Manifest
    tokenizer_json: bytes
    fingerprint: str
    embedding_table: bytes | None = None


@dataclass(frozen=True, slots=True)
class RejectedVersion:
    """A version that does not verify, and why."""

    reason: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model folder: the stable version (None: none can answer), and what is wrong with the folder if anything."""

    name: str
    stable: int | None = None
    versions: Mapping[int, StoredVersion] = field(default_factory=dict)
    rejected: Mapping[int, RejectedVersion] = field(default_factory=dict)
    problem: str | None = None


class Repository:
    """Reads a repository through fsspec: a folder, a volume, `s3://`, `gs://`. Blocking: call it on a thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:  # its sentence names the package to install or the protocol
            raise RepositoryUnreadableError(f"cannot open the model repository {url}: {error}") from error

    def scan(self, previous: Mapping[str, StoredModel]) -> dict[str, StoredModel]:
        """Return every model; what has not changed since `previous` is not read again.

        Raises RepositoryUnreadableError when storage does not answer; trouble inside one model stays in its entry.
        """
        self._fs.invalidate_cache()
        try:
            names = [name for name, entry in self._list(self._root).items() if entry["type"] == "directory"]
        except OSError as error:
            raise RepositoryUnreadableError(f"cannot list the model repository {self.url}: {error}") from error
        models = {}
        for name in filter(MODEL_NAME.fullmatch, names):
            before = previous.get(name, StoredModel(name))
            try:
                models[name] = self._model(name, before)
            except OSError as error:
                models[name] = StoredModel(
                    name, before.stable, before.versions, before.rejected, f"cannot be read: {error}"
                )
        return models

    def _model(self, name: str, before: StoredModel) -> StoredModel:
        versions: dict[int, StoredVersion] = {}
        rejected: dict[int, RejectedVersion] = {}
        for folder, entry in self._list(f"{self._root}/{name}").items():
            if entry["type"] != "directory" or not VERSION.fullmatch(folder):
                continue
            version = int(folder)
            found = self._version(name, version, before.versions.get(version) or before.rejected.get(version))
            if isinstance(found, StoredVersion):
                versions[version] = found
            else:
                rejected[version] = found
        try:
            return StoredModel(name, self._stable(name, versions, rejected), versions, rejected)
        except (VersionRejectedError, OSError) as error:
            stable = before.stable if before.stable in versions else None
            return StoredModel(name, stable, versions, rejected, str(error))

    def _version(
        self, model: str, version: int, before: StoredVersion | RejectedVersion | None
    ) -> StoredVersion | RejectedVersion:
        folder = f"{self._root}/{model}/{version}"
        fingerprint = ""
        try:
            files = self._files(folder)
            fingerprint = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
            if before is not None and before.fingerprint == fingerprint:
                return before
            return self._verify(model, version, folder, files, fingerprint)
        except VersionRejectedError as error:
            return RejectedVersion(str(error), fingerprint)
        except OSError as error:
            if isinstance(before, StoredVersion):
                return before  # verified once and immutable: storage has a bad moment
            return RejectedVersion(f"cannot be read: {error}", "")

    def _verify(
        self, model: str, version: int, folder: str, files: Mapping[str, object], fingerprint: str
    ) -> StoredVersion:
        if "manifest.json" not in files:
            raise VersionRejectedError("manifest.json is missing")
        manifest = parse(self._fs.cat_file(f"{folder}/manifest.json"), model=model, version=version)
        if missing := sorted(set(manifest.files) - set(files)):
            raise VersionRejectedError(f"{missing[0]} is missing")
        if unlisted := sorted(set(files) - set(manifest.files) - {"manifest.json"}):
            raise VersionRejectedError(f"{unlisted[0]} is not listed in manifest.json")
        for name, listed in manifest.files.items():
            sha256, size = self._measure(f"{folder}/{name}")
            if size != listed.bytes:
                raise VersionRejectedError(f"{name} has {size} bytes, manifest.json says {listed.bytes}")
            if sha256 != listed.sha256:
                raise VersionRejectedError(f"{name} has SHA-256 {sha256}, manifest.json says {listed.sha256}")
        table = self._fs.cat_file(f"{folder}/{manifest.embedder.file}") if manifest.embedder else None
        return StoredVersion(manifest, self._fs.cat_file(f"{folder}/tokenizer.json"), fingerprint, table)

    def _stable(
        self,
        model: str,
        versions: Mapping[int, StoredVersion],
        rejected: Mapping[int, RejectedVersion],
    ) -> int:
        try:
            raw = json.loads(self._fs.cat_file(f"{self._root}/{model}/stable.json"))
            version, digest = raw["version"], raw["digest"]
        except FileNotFoundError:
            raise VersionRejectedError("stable.json is missing: no version is named to answer") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise VersionRejectedError(f"stable.json is not {{version, digest}}: {error!r}") from error
        if type(version) is not int:
            raise VersionRejectedError(f"stable.json names version {version!r}, which is no number")
        if version in rejected:
            raise VersionRejectedError(
                f"stable.json names version {version}, which does not verify: {rejected[version].reason}"
            )
        if version not in versions:
            raise VersionRejectedError(f"stable.json names version {version!r}, which does not exist")
        if versions[version].manifest.digest != digest:
            raise VersionRejectedError(f"stable.json's digest is not the digest of version {version}")
        return version

    def _list(self, folder: str) -> dict[str, dict[str, Any]]:
        entries = map(self._followed, self._fs.ls(folder, detail=True))
        return {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry for entry in entries}

    def _followed(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return what a link leads to, under the link's name: the model server's loader follows links too."""
        if not entry.get("islink"):
            return entry
        try:
            return dict(self._fs.info(entry["name"]))
        except OSError as error:
            if error.errno not in LEADS_NOWHERE:
                raise
            return entry

    def _files(self, folder: str, prefix: str = "") -> dict[str, str]:
        """Every file under `folder` with everything that the filesystem says of it (size, times, etag).

        As for the loader, pipes and sockets are no files, and a link to a folder is not entered.
        """
        files: dict[str, str] = {}
        for name, entry in self._list(folder).items():
            if entry["type"] == "directory" and not entry.get("islink"):
                files |= self._files(f"{folder}/{name}", f"{prefix}{name}/")
            elif entry["type"] == "file":
                files[prefix + name] = repr(sorted(entry.items()))
        return files

    def _measure(self, path: str) -> tuple[str, int]:
        sha256, size = hashlib.sha256(), 0
        with self._fs.open(path, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                sha256.update(block)
                size += len(block)
        return sha256.hexdigest(), size
