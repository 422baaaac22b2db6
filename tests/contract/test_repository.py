"""The contract of model-repo/README.md: both readers accept what training publishes and refuse what breaks it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.serving.repository import Repository
from model_server.repository import scan
from tests.tiny_model import publish_tiny


def gateways_view(root: Path) -> tuple[int | None, dict[int, str], set[int]]:
    """Return stable, digests of the verified versions, and the rejected versions."""
    model = Repository(str(root)).scan({})["tiny"]
    digests = {version: stored.manifest.digest for version, stored in model.versions.items()}
    return model.stable, digests, set(model.rejected)


def model_servers_view(root: Path) -> tuple[int | None, dict[int, str], set[int]]:
    model = scan(root, "cpu", {})["tiny"]
    digests = {version: found.digest for version, found in model.versions.items() if found.reason is None}
    return model.stable.version if model.stable else None, digests, set(model.rejected)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_both_readers_accept_what_is_published_and_name_it_by_the_digest_of_its_manifest(tmp_path: Path) -> None:
    published = [publish_tiny(tmp_path), publish_tiny(tmp_path, swapped=True)]
    expected = {}
    for version in published:
        manifest = (version.path / "manifest.json").read_bytes()
        expected[version.version] = "sha256:" + hashlib.sha256(manifest).hexdigest()
        assert version.digest == expected[version.version]
    assert gateways_view(tmp_path) == (1, expected, set())
    assert model_servers_view(tmp_path) == (1, expected, set())


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda folder: (folder / "manifest.json").unlink(), id="no manifest"),
        pytest.param(lambda folder: (folder / "manifest.json").write_text("{"), id="manifest is no JSON"),
        pytest.param(lambda folder: edit(folder / "manifest.json", lambda m: m.update(schema_version=2)), id="schema"),
        pytest.param(lambda folder: edit(folder / "manifest.json", lambda m: m.update(version=1)), id="number"),
        pytest.param(lambda folder: edit(folder / "manifest.json", lambda m: m.update(model="other")), id="name"),
        pytest.param(lambda folder: edit(folder / "manifest.json", lambda m: m.pop("files")), id="no files"),
        pytest.param(lambda folder: (folder / "model.onnx").write_bytes(b"x"), id="content"),
        pytest.param(lambda folder: (folder / "tokenizer.json").unlink(), id="file missing"),
        pytest.param(lambda folder: (folder / "extra").write_bytes(b"x"), id="file unlisted"),
    ],
)
def test_both_readers_refuse_what_breaks_a_rule_and_keep_the_other_version(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    first = publish_tiny(tmp_path)
    harm(publish_tiny(tmp_path).path)
    expected = (1, {1: first.digest}, {2})
    assert gateways_view(tmp_path) == expected
    assert model_servers_view(tmp_path) == expected


@pytest.mark.parametrize(
    "stable", ["{", '{"version": 1}', '{"version": 1, "digest": "sha256:0"}', '{"version": 3, "digest": ""}']
)
def test_both_readers_refuse_a_stable_that_names_no_verified_version(tmp_path: Path, stable: str) -> None:
    publish_tiny(tmp_path)
    (tmp_path / "tiny" / "stable.json").write_text(stable)
    assert gateways_view(tmp_path)[0] is None
    assert model_servers_view(tmp_path)[0] is None


def test_both_readers_ignore_a_publish_in_progress(tmp_path: Path) -> None:
    published = publish_tiny(tmp_path)
    (tmp_path / ".publish-abc" / "2").mkdir(parents=True)
    (tmp_path / "tiny" / ".publish-abc" / "2").mkdir(parents=True)
    assert gateways_view(tmp_path) == (1, {1: published.digest}, set())
    assert model_servers_view(tmp_path) == (1, {1: published.digest}, set())


def test_the_manifest_is_canonical_and_holds_every_documented_key(tmp_path: Path) -> None:
    content = (publish_tiny(tmp_path).path / "manifest.json").read_bytes()
    manifest = json.loads(content)
    assert content == json.dumps(manifest, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"
    documented = (Path(__file__).parents[2] / "model-repo" / "README.md").read_text().split("| key | type |")[1]
    for line in documented.splitlines():
        if line.startswith("| `"):
            for key in line.split("|")[1].replace("`", "").split(","):
                assert key.strip() in manifest, key
