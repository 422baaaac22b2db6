"""The load test against a real gateway and a real Triton, over each protocol, without and with a key."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.processes import Served, gateway
from tests.loadtests.fake_gateway import KEY
from tests.loadtests.locust_process import locust
from tests.model_server_process import ModelServer, model_server
from tests.tiny_model import publish_tiny

CORPUS = """
<what> = film|movie
[a|the] [very|] [good|great|fine|lovely|bad|awful|dull|poor] <what> and [a|the] [very|] [good|great|bad|awful] <what>
<what> [is|and] [very|] [good|great|fine|bad|awful|dull] and [very|the] [good|great|fine|bad|awful|dull] <what>
[I love|I hate] the <what> and the [good|bad|dull|lovely] [film|movie]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model, a corpus of the words that it knows, and a file of keys."""
    folder = tmp_path_factory.mktemp("smoke")
    publish_tiny(folder / "repository")
    (folder / "corpus.txt").write_text(CORPUS)
    (folder / "keys").write_text(f"{hashlib.sha256(KEY.encode()).hexdigest()} load\n")
    return folder


@pytest.fixture(scope="module")
def triton(folder: Path) -> Iterator[ModelServer]:
    """A real one."""
    with model_server(folder / "repository", folder / "model-server.log") as server:
        server.wait("tiny", ready=True)
        yield server


def url(served: Served, protocol: str) -> str:
    """The door of this protocol."""
    return served.url if protocol == "http" else f"grpc://127.0.0.1:{served.grpc_port}"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_short_run_passes_and_knows_its_paraphrases(protocol: str, folder: Path, triton: ModelServer) -> None:
    with gateway(folder / "repository", folder, triton.grpc) as served:
        ended = locust(
            url(served, protocol), folder, "--corpus", "corpus.txt", "--rate", "60", "-t", "2s", "-u", "8", "-r", "8"
        )
    assert ended.code == 0, ended.printed
    figures = ended.figures
    assert figures["requests"] == pytest.approx(120, abs=3)
    assert {"tokenize", "queue", "triton", "total"} <= set(figures["parts"]["server"])
    assert min(figures["texts"].values()) > 0
    assert "no cache" in ended.printed or figures["hit_rate"] is not None


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_key_is_shown_and_its_lack_is_told(protocol: str, folder: Path, triton: ModelServer) -> None:
    options = ("--model", "tiny", "--paraphrase-share", "0")
    with gateway(folder / "repository", folder, triton.grpc, api_keys_file=str(folder / "keys")) as served:
        door = url(served, protocol)
        known = locust(door, folder, *options, RETORT_API_KEY=KEY)
        unknown = locust(door, folder, *options)
    assert known.code == 0, known.printed
    assert unknown.code == 1
    assert "an API key is needed" in unknown.printed
