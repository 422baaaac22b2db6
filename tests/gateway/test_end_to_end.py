"""The gateway in front of the real Triton: answers, stock clients, and Triton killed and started again."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.gateway.processes import environment, free_port, process, status, wait_until
from tests.tiny_model import BAD, GOOD

START_S = 40


@dataclass
class Stack:
    """A gateway and a model server; the latter can be killed and started again on the same ports."""

    repository: Path
    logs: Path
    ports: dict[str, int] = field(default_factory=dict)
    exits: ExitStack = field(default_factory=ExitStack)
    supervisor: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.ports['http_port']}"

    def start_model_server(self) -> None:
        """Start it and wait until Triton serves the model."""
        names = ("triton_http_port", "triton_grpc_port", "triton_metrics_port", "loader_port")
        for name in names:
            self.ports.setdefault(name, free_port())
        variables = environment(
            model_repository=self.repository, loader_poll_s=0.2, **{name: self.ports[name] for name in names}
        )
        log = self.logs / "model_server.log"
        self.supervisor = self.exits.enter_context(process("model_server", variables, log))
        wait_until(lambda: status(f"http://127.0.0.1:{self.ports['loader_port']}/readyz") == 200, START_S, log)

    def kill_triton(self) -> None:
        """SIGKILL the tritonserver process itself, and wait until its supervisor has noticed and ended."""
        assert self.supervisor is not None
        pid = self.supervisor.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (triton,) = (child for child in children if "tritonserver" in Path(f"/proc/{child}/comm").read_text())
        os.kill(int(triton), signal.SIGKILL)
        assert self.supervisor.wait(10) != 0

    def start_gateway(self) -> None:
        """Start it and wait until it is ready."""
        for name in ("http_port", "grpc_port", "metrics_port"):
            self.ports.setdefault(name, free_port())
        variables = environment(
            model_repository=self.repository,
            triton_urls=f"127.0.0.1:{self.ports['triton_grpc_port']}",
            http_port=self.ports["http_port"],
            grpc_port=self.ports["grpc_port"],
            metrics_port=self.ports["metrics_port"],
            gateway_drain_s=0,
        )
        log = self.logs / "gateway.log"
        self.exits.enter_context(process("gateway", variables, log))
        wait_until(lambda: status(f"{self.url}/readyz") == 200, START_S, log)

    def predict(self, text: str) -> httpx.Response:
        """Ask the default model."""
        return httpx.post(f"{self.url}/predict", json={"text": text}, timeout=10)


@pytest.fixture(scope="module")
def stack(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Both processes, ready."""
    running = Stack(published, tmp_path_factory.mktemp("logs"))
    with running.exits:
        running.start_model_server()
        running.start_gateway()
        yield running


def expected(text: str) -> tuple[str, float]:
    """What the tiny model's arithmetic says: two points for every good or bad word, then softmax."""
    good, bad = (2.0 * sum(word in words for word in text.split()) for words in (GOOD, BAD))
    return ("positive" if good > bad else "negative"), float(1 / (1 + np.exp(-abs(good - bad))))


TEXTS = [
    *("good", "bad", "a good film", "the film is bad and dull", "very very good and bad", "love the lovely movie"),
    *("film", "awful awful awful", "good bad good bad good", "the movie is fine"),
]


def test_texts_are_answered_by_what_they_say(stack: Stack) -> None:
    for text in TEXTS:
        label, score = expected(text)
        answer = stack.predict(text).json()
        assert (answer["prediction"], answer["confidence"]) == (label, pytest.approx(score, abs=1e-5)), text


def test_a_text_is_answered_the_same_alone_and_in_company(stack: Stack) -> None:
    url = f"{stack.url}/v1/models/tiny/predict"
    together = httpx.post(url, json={"inputs": TEXTS * 10}, timeout=20).json()
    alone = [httpx.post(url, json={"inputs": text}).json()[0] for text in TEXTS]
    assert together == alone * 10
    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(lambda text: stack.predict(text).json(), TEXTS * 10))
    assert [(a["prediction"], a["confidence"]) for a in crowd] == [(a["label"], a["score"]) for a in alone * 10]


def test_triton_killed_is_a_quick_503_and_comes_back(stack: Stack) -> None:
    assert stack.predict("good").status_code == 200
    stack.kill_triton()
    for _ in range(5):
        started_s = time.monotonic()
        answer = stack.predict("good")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_unavailable")
        assert time.monotonic() - started_s < 2
    assert status(f"{stack.url}/readyz") == 200
    assert status(f"{stack.url}/v2/models/tiny/ready") == 503
    stack.start_model_server()
    wait_until(lambda: stack.predict("good").status_code == 200, 2)
    assert stack.predict("a bad film").json()["prediction"] == "negative"
