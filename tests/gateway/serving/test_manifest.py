"""Reading a manifest: what is missing or wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import VersionRejectedError
from gateway.serving.manifest import EmbedderFacts, digest_of, parse


@pytest.fixture
def content(published: Path) -> dict[str, Any]:
    """The tiny model's manifest."""
    return dict(json.loads((published / "tiny/1/manifest.json").read_bytes()))


def read(content: object) -> Any:
    """Parse it as tiny/1."""
    return parse(json.dumps(content).encode(), model="tiny", version=1)


def test_reads_what_training_wrote(published: Path) -> None:
    raw = (published / "tiny/1/manifest.json").read_bytes()
    manifest = parse(raw, model="tiny", version=1)
    assert manifest.digest == json.loads((published / "tiny/stable.json").read_bytes())["digest"]
    assert manifest.digest == digest_of(raw)
    assert (manifest.labels, manifest.max_length, manifest.pair) == (("negative", "positive"), 32, False)
    assert set(manifest.files) == {"model.onnx", "tokenizer.json"}


EMBEDDER = {"file": "model.onnx", "width": 2, "kind": "token-sum", "dtype": "int8", "normalised": "l2"}
REPLAY = {"score": "s", "start_threshold": 1.7}


def with_embedder(content: dict[str, Any], **changes: object) -> dict[str, Any]:
    """The manifest with an embedder whose table is as large as it says."""
    files = content["files"] | {"model.onnx": content["files"]["model.onnx"] | {"bytes": 2 * 20 + 2}}
    tokenizer = content["tokenizer"] | {"vocab_size": 21}
    return content | {"embedder": EMBEDDER, "replay": REPLAY, "files": files, "tokenizer": tokenizer} | changes


def test_an_embedder_is_read_with_its_replay(content: dict[str, Any]) -> None:
    assert read(with_embedder(content)).embedder == EmbedderFacts("model.onnx", 2, "s", 1.7)
    closed = read(with_embedder(content, replay=REPLAY | {"start_threshold": None})).embedder
    assert closed == EmbedderFacts("model.onnx", 2, "s", None)
    assert read(with_embedder(content, replay=None)).embedder == EmbedderFacts("model.onnx", 2, None, None)


def test_versions_without_an_embedder_or_with_a_later_kind_answer_without(content: dict[str, Any]) -> None:
    del content["embedder"], content["replay"]
    assert read(content).embedder is None
    assert read(content | {"embedder": None}).embedder is None
    assert read(with_embedder(content, embedder=EMBEDDER | {"kind": "later"})).embedder is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedder": EMBEDDER | {"width": 3}}, "lists no model.onnx of"),
        ({"embedder": EMBEDDER | {"file": "table"}}, "lists no table of"),
        ({"embedder": {"width": 2}}, "lacks embedder.kind"),
        ({"embedder": 2}, "embedder is not of type dict"),
        ({"replay": REPLAY | {"start_threshold": "high"}}, "replay.start_threshold is not of type float"),
    ],
)
def test_a_wrong_embedder_is_named(content: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VersionRejectedError, match=message):
        read(with_embedder(content, **changes))


def test_unknown_keys_are_ignored(content: dict[str, Any]) -> None:
    assert read(content | {"colour": "red"}).model == "tiny"


@pytest.mark.parametrize(
    "key",
    [
        *("schema_version", "model", "version", "task", "target", "labels", "pair", "inputs", "outputs"),
        *("tokenizer", "limits", "edges", "config_sha256", "files"),
    ],
)
def test_a_missing_key_is_named(content: dict[str, Any], key: str) -> None:
    del content[key]
    with pytest.raises(VersionRejectedError, match=f"lacks {key}"):
        read(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 2 is unknown"),
        ({"schema_version": True}, "schema_version is not of type int"),
        ({"version": 2}, "says tiny/2 but lies in tiny/1"),
        ({"task": "generation"}, "task 'generation'"),
        ({"labels": []}, "no labels"),
        ({"labels": [1]}, "not text"),
        ({"pair": True}, "inputs"),
        ({"outputs": {"scores": "FP32"}}, "outputs"),
        ({"limits": {"max_batch_size": 16, "max_tokens": 31}}, "max_tokens is less"),
        ({"limits": {"max_batch_size": 0, "max_tokens": 512}}, "limits.max_batch_size is 0"),
        ({"edges": {"onnxruntime": 5}}, "edges.onnxruntime is not of type list"),
        ({"edges": {"onnxruntime": [16, "a"]}}, "edges.onnxruntime holds something"),
        ({"edges": {"onnxruntime": [16, True]}}, "edges.onnxruntime holds something"),
        ({"edges": {"onnxruntime": [0, 16]}}, "edges.onnxruntime holds something"),
        ({"edges": {"onnxruntime": [float("inf")]}}, "edges.onnxruntime holds something"),
        ({"files": {}}, "no tokenizer.json"),
        ({"files": {"tokenizer.json": 1}}, "files.tokenizer.json"),
    ],
)
def test_a_wrong_value_is_named(content: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(VersionRejectedError, match=message):
        read(content | change)


def test_edges_are_in_order(content: dict[str, Any]) -> None:
    assert read(content | {"edges": {"tensorrt": [32, 16]}}).edges == {"tensorrt": (16, 32)}


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_something_else_is_refused(raw: bytes) -> None:
    with pytest.raises(VersionRejectedError, match=r"manifest\.json is not"):
        parse(raw, model="tiny", version=1)
