"""The load test against a real gateway and a real Triton, over each protocol, in the clear and with keys and TLS."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.certificates import make_certificate
from tests.gateway.processes import Served, environment, gateway, process, status, wait_until
from tests.loadtests.fake_gateway import KEY
from tests.loadtests.locust_process import locust
from tests.model_server_process import ModelServer, model_server
from tests.ports import free_ports
from tests.tiny_model import publish_tiny

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")

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
    keys = {KEY: "load may=cache-bypass", "plain": "plain"}
    lines = [f"{hashlib.sha256(key.encode()).hexdigest()} {owner}\n" for key, owner in keys.items()]
    (folder / "keys").write_text("".join(lines))
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


@needs_openssl
@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_keys_and_certificates(scheme: str, folder: Path, triton: ModelServer) -> None:
    cert, key = make_certificate(folder / scheme)
    http_port, grpc_port, metrics_port = free_ports(3)
    variables = environment(
        model_repository=folder / "repository",
        triton_urls=f"127.0.0.1:{triton.grpc}",
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        api_keys_file=folder / "keys",
        tls_cert_file=cert,
        tls_key_file=key,
        gateway_drain_s=0,
    )
    door = f"{scheme}://127.0.0.1:{http_port if scheme == 'https' else grpc_port}"
    options = ("--ca", str(cert), "--corpus", "corpus.txt", "--model", "tiny")
    log = folder / f"{scheme}.log"
    with process("gateway", variables, log):
        wait_until(lambda: status(f"http://127.0.0.1:{metrics_port}/metrics") == 200, 20, log)
        good = locust(door, folder, *options, RETORT_API_KEY=KEY)
        may_not = locust(door, folder, *options, RETORT_API_KEY="plain")
        without = locust(door, folder, *options, "--paraphrase-share", "0", RETORT_API_KEY="plain")
        distrusting = locust(door, folder, *options[2:], RETORT_API_KEY=KEY)
    assert good.code == 0, good.printed
    assert may_not.code == 1
    assert "needs the permission cache-bypass, which the key 'plain' has not" in may_not.printed
    assert without.code == 0, without.printed
    assert distrusting.code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in distrusting.printed
