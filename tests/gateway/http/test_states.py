"""The states of models: the one that answers, those that wait, those that were rejected."""

from pathlib import Path

from gateway.http import states
from tests.gateway.serving.test_catalog import catalog
from tests.tiny_model import publish_tiny


async def test_every_version_has_a_state(repository: Path) -> None:
    publish_tiny(repository, swapped=True)
    third = publish_tiny(repository)
    (repository / "tiny/3/model.onnx").write_bytes(b"other")
    models = catalog(repository)
    await models.refresh()
    state = states.of(models)["tiny"]
    assert (state.ready, state.stable, state.problem) == (True, 1, None)
    assert states.brief(models)["tiny"].ready
    assert {version: found.state for version, found in state.versions.items()} == {
        "1": "stable",
        "2": "verified",
        "3": "rejected",
    }
    assert "model.onnx" in (state.versions["3"].reason or "")
    assert third.digest != state.versions["3"].digest
