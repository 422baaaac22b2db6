"""Tests of training/publish.py: whole or not at all, even when killed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.tiny_model import publish_tiny
from training.errors import PublishError
from training.publish import publish

ROOT = Path(__file__).parents[2]
PUBLISH_FOREVER = """
import sys
from pathlib import Path
from tests.tiny_model import publish_tiny
print("ready", flush=True)
while True:
    publish_tiny(Path(sys.argv[1]))
"""


def verify(repository: Path) -> int:
    """Assert that every version that readers see is whole; return how many there are."""
    models = [path for path in repository.iterdir() if not path.name.startswith(".")]
    count = 0
    for model in models:
        stable = json.loads((model / "stable.json").read_text())
        assert (model / "config.pbtxt").is_file()
        for folder in (path for path in model.iterdir() if path.is_dir() and not path.name.startswith(".")):
            content = (folder / "manifest.json").read_bytes()
            manifest = json.loads(content)
            assert manifest["version"] == int(folder.name)
            assert {path.name for path in folder.iterdir()} == {"manifest.json", *manifest["files"]}
            for name, file in manifest["files"].items():
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"]
            if stable["version"] == int(folder.name):
                assert stable["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
            count += 1
    return count


def test_the_first_version_becomes_stable_and_later_ones_do_not(tmp_path: Path) -> None:
    first, second = publish_tiny(tmp_path), publish_tiny(tmp_path, swapped=True)
    assert (first.version, first.stable, second.version, second.stable) == (1, True, 2, False)
    assert json.loads((tmp_path / "tiny" / "stable.json").read_text()) == {"version": 1, "digest": first.digest}
    assert verify(tmp_path) == 2


def test_a_stable_json_that_is_absent_is_written(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    (tmp_path / "tiny" / "stable.json").unlink()
    assert publish_tiny(tmp_path).stable
    assert json.loads((tmp_path / "tiny" / "stable.json").read_text())["version"] == 2


@pytest.mark.timeout(120)
def test_killed_at_any_moment_it_leaves_only_whole_versions(tmp_path: Path) -> None:
    source = random.Random(7)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    seen = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", PUBLISH_FOREVER, str(tmp_path)], env=environment, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(source.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
        seen = verify(tmp_path)
    publish_tiny(tmp_path)
    assert verify(tmp_path) == seen + 1
    assert not list(tmp_path.glob(".publish-*")) + list(tmp_path.glob("tiny/.publish-*"))


def test_an_edited_config_stays_and_another_kind_is_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    config = tmp_path / "tiny" / "config.pbtxt"
    edited = config.read_text().replace("max_queue_size: 256", "max_queue_size: 9")
    config.write_text(edited)
    publish_tiny(tmp_path)
    assert config.read_text() == edited
    manifest = json.loads((tmp_path / "tiny" / "2" / "manifest.json").read_text())
    assert manifest["config_sha256"] == hashlib.sha256(edited.encode()).hexdigest()
    config.write_text(edited.replace("TYPE_INT64", "TYPE_INT32"))
    with pytest.raises(PublishError, match="publish under another model name"):
        publish_tiny(tmp_path)
    config.write_text("backend: [")
    with pytest.raises(PublishError, match="not a Triton model configuration"):
        publish_tiny(tmp_path)
    assert verify(tmp_path) == 2


def test_a_bad_model_name_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"model name '\.\./out'"):
        publish_tiny(tmp_path, "../out")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    from tests.tiny_model import config_pbtxt, tiny_description

    with pytest.raises(PublishError, match="cannot publish m"):
        publish(tmp_path, "m", tiny_description(1), {"model.onnx": tmp_path / "absent"}, config_pbtxt())
    assert list(tmp_path.iterdir()) == []


def test_publishers_take_turns(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        published = list(threads.map(lambda _: publish_tiny(tmp_path), range(16)))
    assert sorted(version.version for version in published) == list(range(1, 17))
    assert [version.version for version in published if version.stable] == [1]


def test_everything_is_on_disk_before_the_rename_makes_it_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tiny(tmp_path)
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def watched_sync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def watched_rename(source: Path, target: Path) -> Path:
        done.append("rename")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    publish_tiny(tmp_path)
    before = done[: done.index("rename")]
    assert {"model.onnx", "tokenizer.json", "manifest.json", "2"} <= set(before)
    assert done[-1] == "tiny"  # the folder that now lists the version
