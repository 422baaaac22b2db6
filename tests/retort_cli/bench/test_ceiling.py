"""The ceiling: what is tried, and a real measurement of the tiny model."""

from pathlib import Path

import pytest

from retort_cli.bench.ceiling import Arrangement, Job, arrangements, run
from retort_cli.errors import CommandError
from tests.tiny_model import MAX_LENGTH, publish_tiny


def test_processes_and_threads_are_tried_in_every_batch_size() -> None:
    tried = arrangements(cores=2, max_batch_size=16)
    assert {(entry.processes, entry.threads) for entry in tried} == {(2, 1), (1, 2)}
    assert {entry.batch_size for entry in tried} == {4, 8, 16}
    assert arrangements(cores=1, max_batch_size=2) == [Arrangement(1, 1, 2)]


def job(folder: Path, **changes: object) -> Job:
    usual: dict[str, object] = {
        "network": str(folder / "model.onnx"),
        "tokenizer": str(folder / "tokenizer.json"),
        "max_length": MAX_LENGTH,
        "pad_id": 0,
        "texts": ["a good film", "the movie is bad and very dull"],
        "batch_size": 4,
        "processes": 2,
        "threads": 1,
        "seconds": 0.3,
    }
    return Job(**(usual | changes))  # type: ignore[arg-type]


def test_texts_a_second_are_measured(tmp_path: Path) -> None:
    folder = publish_tiny(tmp_path / "repo").path
    assert run(job(folder), tmp_path) > 100


def test_a_network_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    folder = publish_tiny(tmp_path / "repo").path
    with pytest.raises(CommandError, match=r"retort_cli\.bench\.ceiling failed"):
        run(job(folder, network=str(tmp_path / "none.onnx"), processes=1), tmp_path)
