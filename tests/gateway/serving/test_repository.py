"""Scanning a repository: only what verifies is served, and a bad moment of storage changes nothing."""

import json
import os
import shutil
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import known_implementations

from gateway.errors import RepositoryUnreadableError
from gateway.serving.repository import Repository, StoredModel
from tests.tiny_model import publish_tiny


def scan(repository: Path, previous: dict[str, StoredModel] | None = None) -> dict[str, StoredModel]:
    """Scan a folder."""
    return Repository(str(repository)).scan(previous or {})


def test_finds_the_stable_version(repository: Path) -> None:
    publish_tiny(repository)
    model = scan(repository)["tiny"]
    assert (model.stable, sorted(model.versions), model.rejected, model.problem) == (1, [1, 2], {}, None)
    assert model.versions[1].tokenizer_json == (repository / "tiny/1/tokenizer.json").read_bytes()


def test_ignores_temporary_folders_and_files_beside_models(repository: Path) -> None:
    (repository / ".publish-abc").mkdir()
    (repository / "README.md").write_text("hello")
    (repository / "tiny/.publish-abc").mkdir()
    (repository / "tiny/01").mkdir()
    model = scan(repository)
    assert list(model) == ["tiny"]
    assert (list(model["tiny"].versions), model["tiny"].rejected) == ([1], {})


def flip(path: Path) -> None:
    """Change a byte, keep the size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def append(path: Path) -> None:
    """Add a byte."""
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("harm", "name", "reason"),
    [
        (flip, "model.onnx", "model.onnx has SHA-256"),
        (append, "tokenizer.json", "tokenizer.json has"),
        (Path.unlink, "model.onnx", "model.onnx is missing"),
        (Path.unlink, "manifest.json", "manifest.json is missing"),
        (lambda path: path.write_text("{"), "manifest.json", "not JSON"),
        (lambda path: path.write_text("x"), "extra.bin", "extra.bin is not listed"),
    ],
)
def test_rejects_what_does_not_verify(repository: Path, harm: object, name: str, reason: str) -> None:
    assert callable(harm)
    harm(repository / "tiny/1" / name)
    model = scan(repository)["tiny"]
    assert (model.stable, dict(model.versions)) == (None, {})
    assert reason in model.rejected[1].reason
    assert "does not verify" in (model.problem or "")


def test_a_version_that_was_mended_is_verified_again(repository: Path) -> None:
    saved = (repository / "tiny/1/model.onnx").read_bytes()
    flip(repository / "tiny/1/model.onnx")
    broken = scan(repository)
    (repository / "tiny/1/model.onnx").write_bytes(saved)
    assert scan(repository, broken)["tiny"].stable == 1


def test_harm_after_verification_is_seen(repository: Path) -> None:
    good = scan(repository)
    flip(repository / "tiny/1/model.onnx")
    assert scan(repository, good)["tiny"].stable is None


def test_what_has_not_changed_is_not_read_again(repository: Path) -> None:
    first = scan(repository)
    assert scan(repository, first)["tiny"].versions[1] is first["tiny"].versions[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not {version, digest}"),
        ("[]", "not {version, digest}"),
        ("[" * 100_000, "not {version, digest}"),
        (json.dumps({"version": 7, "digest": "sha256:0"}), "names version 7"),
        (json.dumps({"version": 1, "digest": "sha256:0"}), "not the digest of version 1"),
        (json.dumps({"version": [1], "digest": "sha256:0"}), "names version"),
    ],
)
def test_a_wrong_stable_json_keeps_the_last_good_one(repository: Path, content: str, problem: str) -> None:
    good = scan(repository)
    (repository / "tiny/stable.json").write_text(content)
    assert scan(repository)["tiny"].stable is None
    model = scan(repository, good)["tiny"]
    assert model.stable == 1
    assert problem in (model.problem or "")


def test_without_stable_json_nothing_answers(repository: Path) -> None:
    (repository / "tiny/stable.json").unlink()
    model = scan(repository)["tiny"]
    assert model.stable is None
    assert "stable.json is missing" in (model.problem or "")


def test_a_repository_that_cannot_be_listed_says_so(tmp_path: Path) -> None:
    with pytest.raises(RepositoryUnreadableError, match="cannot list the model repository"):
        scan(tmp_path / "nowhere")


def test_a_version_stays_when_storage_has_a_bad_moment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Repository(str(repository))
    good = reader.scan({})
    (repository / "tiny/1/manifest.json").touch()
    publish_tiny(repository)
    inner = type(reader._fs).cat_file

    def fail(filesystem: object, path: str, **more: object) -> bytes:
        if path.endswith("/1/manifest.json"):
            raise OSError("stale file handle")
        return bytes(inner(filesystem, path, **more))

    monkeypatch.setattr(type(reader._fs), "cat_file", fail)
    model = reader.scan(good)["tiny"]
    assert (model.stable, sorted(model.versions), model.problem) == (1, [1, 2], None)
    assert "stale file handle" in reader.scan({})["tiny"].rejected[1].reason


def test_links_are_followed_as_the_loader_follows_them(repository: Path, tmp_path: Path) -> None:
    shutil.move(repository / "tiny/1", tmp_path / "version")
    (repository / "tiny/1").symlink_to(tmp_path / "version")
    shutil.move(tmp_path / "version/model.onnx", tmp_path / "blob")
    (tmp_path / "version/model.onnx").symlink_to(tmp_path / "blob")
    shutil.move(repository / "tiny", tmp_path / "model")
    (repository / "tiny").symlink_to(tmp_path / "model")
    (tmp_path / "version/around").symlink_to(tmp_path / "version")
    (repository / "gone").symlink_to(tmp_path / "nowhere")
    (repository / "circle").symlink_to(repository / "circle")
    good = scan(repository)
    assert {name: (model.stable, model.rejected) for name, model in good.items()} == {"tiny": (1, {})}
    flip(tmp_path / "blob")
    assert "model.onnx has SHA-256" in scan(repository, good)["tiny"].rejected[1].reason


def test_a_pipe_is_no_file(repository: Path) -> None:
    os.mkfifo(repository / "tiny/1/pipe")
    assert scan(repository)["tiny"].stable == 1
    (repository / "tiny/1/model.onnx").unlink()
    os.mkfifo(repository / "tiny/1/model.onnx")
    assert "model.onnx is missing" in scan(repository)["tiny"].rejected[1].reason


@pytest.mark.parametrize(
    ("url", "said"), [("foo://x", "Protocol not known: foo"), ("absent://x", "Install absentfs to read absent")]
)
def test_a_url_that_cannot_be_opened_is_one_sentence(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"class": "absentfs.Files", "err": "Install absentfs to read absent"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    with pytest.raises(RepositoryUnreadableError, match=f"cannot open the model repository {url}: {said}"):
        Repository(url)


def test_reads_any_fsspec_filesystem(repository: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(repository), "/bucket", recursive=True)
    try:
        model = Repository("memory://bucket").scan({})["tiny"]
        assert (model.stable, model.problem) == (1, None)
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_model_that_was_removed_is_gone(repository: Path) -> None:
    good = scan(repository)
    shutil.rmtree(repository / "tiny")
    assert scan(repository, good) == {}
