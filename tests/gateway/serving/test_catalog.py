"""The catalog: follows the repository, keeps what is good, says what is not."""

import asyncio
import gc
import json
import logging
import shutil
import weakref
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import InvalidRequestError, ModelUnavailableError, UnknownModelError
from gateway.metrics import Metrics
from gateway.serving.catalog import Catalog
from gateway.serving.repository import Repository, StoredModel
from gateway.serving.target import Batching, Target
from gateway.upstream.triton import Triton
from tests.gateway.conftest import until
from tests.tiny_model import publish_tiny


def catalog(repository: Path, metrics: Metrics | None = None, default: str | None = None) -> Catalog:
    """A catalog whose targets lead nowhere."""
    metrics = metrics or Metrics()
    make = partial(Target, triton=Triton([], metrics), batching=Batching(8, 1, 8), metrics=metrics, cohort="stable")
    return Catalog(Repository(str(repository)), make, metrics, default)


def promote(repository: Path, version: int, digest: str) -> None:
    """Replace stable.json as a promotion does."""
    staged = repository / "tiny/.stable.json.new"
    staged.write_text(json.dumps({"version": version, "digest": digest}))
    staged.replace(repository / "tiny/stable.json")


async def test_the_stable_version_answers_and_a_new_one_waits(repository: Path) -> None:
    models = catalog(repository)
    assert not models.is_ready
    await models.refresh()
    first = models.target("tiny")
    assert (first.version, first.cohort, models.is_ready) == ("1", "stable", True)
    second = publish_tiny(repository, swapped=True)
    await models.refresh()
    assert models.target("tiny") is first
    promote(repository, 2, second.digest)
    await models.refresh()
    assert models.target("tiny").manifest.digest == second.digest


async def test_a_stable_version_that_breaks_is_not_routed_to(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    models = catalog(repository, metrics)
    await models.refresh()
    (repository / "tiny/1/model.onnx").write_bytes(b"other")
    with caplog.at_level(logging.ERROR):
        await models.refresh()
        await models.refresh()
    with pytest.raises(ModelUnavailableError, match=r"model\.onnx has 5 bytes"):
        models.target("tiny")
    rejected = {"model": "tiny", "version": "1", "result": "rejected"}
    assert metrics.registry.get_sample_value("retort_model_versions", rejected) == 1
    assert sum("version 1 is rejected: model.onnx" in message for message in caplog.messages) == 1


async def test_a_promotion_to_a_broken_version_leaves_the_old_one_answering(repository: Path) -> None:
    models = catalog(repository)
    await models.refresh()
    broken = publish_tiny(repository)
    (broken.path / "model.onnx").unlink()
    promote(repository, 2, broken.digest)
    await models.refresh()
    assert models.target("tiny").version == "1"
    assert "names version 2, which does not verify" in (models.models["tiny"].problem or "")


async def test_a_tokenizer_that_does_not_load_rejects_the_version(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.tiny_model.tiny_tokenizer", lambda: Unreadable())
    publish_tiny(repository, "odd")
    models = catalog(repository)
    await models.refresh()
    with pytest.raises(ModelUnavailableError, match=r"tokenizer\.json cannot be used"):
        models.target("odd")
    assert models.target("tiny").version == "1"


class Unreadable:
    """A tokenizer whose file nobody can read."""

    def to_str(self) -> str:
        """Say nothing useful."""
        return "{}"


async def test_an_unreadable_repository_changes_nothing(repository: Path) -> None:
    metrics = Metrics()
    models = catalog(repository, metrics)
    await models.refresh()
    moved = repository.rename(repository.with_name("moved"))  # noqa: ASYNC240
    await models.refresh()
    assert models.target("tiny").version == "1"
    assert "cannot list" in (models.problem or "")
    assert metrics.registry.get_sample_value("retort_repository_errors_total") == 1
    moved.rename(repository)
    await models.refresh()
    assert models.problem is None


async def test_a_bug_neither_ends_the_start_nor_the_watch(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    models = catalog(repository, metrics)
    inner, bugs = Repository.scan, [ZeroDivisionError("first"), ZeroDivisionError("second")]

    def scan(reader: Repository, previous: dict[str, StoredModel]) -> dict[str, StoredModel]:
        if bugs:
            raise bugs.pop(0)
        return inner(reader, previous)

    monkeypatch.setattr(Repository, "scan", scan)
    await models.refresh()
    assert "unforeseen" in (models.problem or "")
    watch = asyncio.create_task(models.watch(0.01))

    async def mended() -> bool:
        return models.is_ready and models.problem is None

    await until(mended)
    watch.cancel()
    assert metrics.registry.get_sample_value("retort_repository_errors_total") == 2
    assert "ZeroDivisionError: second" in caplog.text


async def test_a_removed_model_is_unknown(repository: Path) -> None:
    publish_tiny(repository, "other")
    metrics = Metrics()
    models = catalog(repository, metrics)
    await models.refresh()
    target = weakref.ref(models.target("tiny"))
    assert metrics.registry.get_sample_value("retort_queue_depth", {"model": "tiny"}) == 0
    shutil.rmtree(repository / "tiny")
    await models.refresh()
    with pytest.raises(UnknownModelError):
        models.target("tiny")
    assert metrics.registry.get_sample_value("retort_queue_depth", {"model": "tiny"}) is None
    gc.collect()
    assert target() is None, "its tokenizer would stay"


async def test_all_models_gone_at_once_is_a_volume_that_is_not_mounted(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    models = catalog(repository, metrics)
    await models.refresh()
    moved = repository.rename(repository.with_name("moved"))  # noqa: ASYNC240
    repository.mkdir()  # noqa: ASYNC240
    await models.refresh()
    await models.refresh()
    assert models.target("tiny").version == "1"
    assert "is empty all at once" in (models.problem or "")
    assert metrics.registry.get_sample_value("retort_repository_errors_total") == 2
    assert sum("is empty all at once" in message for message in caplog.messages) == 1
    repository.rmdir()  # noqa: ASYNC240
    moved.rename(repository)
    await models.refresh()
    assert models.problem is None


async def test_the_default_model(repository: Path) -> None:
    models = catalog(repository)
    with pytest.raises(ModelUnavailableError, match="holds no model that can answer; it is empty"):
        models.default_model()
    await models.refresh()
    assert models.default_model() == "tiny"
    (repository / "a-folder").mkdir()
    await models.refresh()
    assert models.default_model() == "tiny"
    publish_tiny(repository, "other")
    await models.refresh()
    with pytest.raises(InvalidRequestError, match="other, tiny"):
        models.default_model()
    assert catalog(repository, default="other").default_model() == "other"


async def test_without_a_model_that_can_answer_it_is_said_why(repository: Path) -> None:
    (repository / "tiny/stable.json").unlink()
    models = catalog(repository)
    await models.refresh()
    with pytest.raises(ModelUnavailableError, match=r"no model that can answer; tiny: stable\.json is missing"):
        models.default_model()


async def test_a_default_model_that_does_not_exist_is_said(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = catalog(repository, default="tinny")
    await models.refresh()
    await models.refresh()
    assert models.is_ready
    assert models.problem == "RETORT_DEFAULT_MODEL 'tinny' is not in the repository; known models: tiny"
    assert caplog.messages.count(models.problem) == 1
    publish_tiny(repository, "tinny")
    await models.refresh()
    assert models.problem is None


async def test_who_answers_is_a_metric(repository: Path) -> None:
    metrics = Metrics()
    models = catalog(repository, metrics)
    await models.refresh()
    info = {"model": "tiny", "version": "1", "cohort": "stable", "digest": models.target("tiny").manifest.digest}
    assert metrics.registry.get_sample_value("retort_model_info", info) == 1
    assert metrics.registry.get_sample_value("retort_queue_depth", {"model": "tiny"}) == 0
