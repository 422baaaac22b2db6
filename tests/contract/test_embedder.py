"""The contract of the embedder: the gateway reads the table that training publishes, and embeds as training did."""

from pathlib import Path

import numpy as np
import pytest

from gateway.cache.embedder import Embedder
from gateway.serving.repository import Repository
from tests.tiny_model import EMBEDDER_WIDTH, WORDS, publish_tiny, tiny_table
from training import table


def test_the_gateway_embeds_as_the_replay_at_publish_did(tmp_path: Path) -> None:
    publish_tiny(tmp_path, embedder=True)
    stored = Repository(str(tmp_path)).scan({})["tiny"].versions[1]
    facts = stored.manifest.embedder
    assert facts is not None
    assert facts.start_threshold == 1.7
    assert stored.embedding_table is not None
    embedder = Embedder(stored.embedding_table, vocab_size=stored.manifest.vocab_size, width=facts.width)
    rows = [(2, 4, 6, 11, 3), (2, 16, 3), tuple(range(len(WORDS)))]
    vectors = [embedder.embed(row) for row in rows]
    assert np.array_equal(np.array(vectors), table.embed(tiny_table(), rows))
    assert np.array(vectors).shape == (3, EMBEDDER_WIDTH)
    assert embedder.embed((2, 1, 3)) is None


def test_a_version_without_an_embedder_has_no_table(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    stored = Repository(str(tmp_path)).scan({})["tiny"].versions[1]
    assert stored.manifest.embedder is None
    assert stored.embedding_table is None


@pytest.mark.parametrize("harm", [lambda content: content[:-1], lambda content: b"\x01" + content[1:]])
def test_a_table_that_is_not_the_published_one_rejects_the_version(tmp_path: Path, harm: object) -> None:
    path = publish_tiny(tmp_path, embedder=True).path / table.FILE
    assert callable(harm)
    path.write_bytes(harm(path.read_bytes()))
    assert "token-vectors.int8" in Repository(str(tmp_path)).scan({})["tiny"].rejected[1].reason
